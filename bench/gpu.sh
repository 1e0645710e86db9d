#!/usr/bin/env bash
# gpu.sh WHEELS DATA [OUT [speed|accuracy]]: the CUDA checks and all benchmarks (speed, the default), or the recipes side by side on several
# seeds and what each choice matters (accuracy), within 9 minutes, on a machine that has Python and torch and no network. WHEELS: a folder with
# the other wheels that the package needs (pip download --no-deps); DATA: a folder or archive of CIFAR-10; OUT: where gpu-*.json go (default:
# results/bench). SEEDS=0,1,2,3,4 gives other seeds than 0,1,2. accuracy goes on where it was cut, if OUT is the same.
# DRY=1 runs it on a processor, with the sizes of --quick, to see that it works.
set -uo pipefail
(($# >= 2 && $# <= 4)) && [[ ${4:-speed} =~ ^(speed|accuracy)$ ]] || { echo "usage: bench/gpu.sh WHEELS DATA [OUT [speed|accuracy]]" >&2; exit 2; }
[ -d "$1" ] || { echo "gpu.sh: WHEELS $1 is no folder" >&2; exit 2; }
[ -e "$2" ] || { echo "gpu.sh: DATA $2 does not exist" >&2; exit 2; }
wheels=$(realpath "$1") data=$(realpath "$2") out=$(realpath -m "${3:-results/bench}")
cd "$(dirname "$0")/.." || exit
mkdir -p "$out" || exit
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
python=${PYTHON:-python3}
quick=${DRY:+--quick} few=${DRY:+--quick}
few=${few:---rounds 3} # enough where the marks are for a processor
failed=0

step() { # seconds at most, name, command...; nothing goes on after 530 s in all
    local most=$1 name=$2 from=$SECONDS left=$((530 - SECONDS))
    shift 2
    ((most < left)) || most=$((left > 0 ? left : 1))
    printf '\n== %s\n' "$name"
    timeout "$most" "$@" || { failed=$((failed + 1)); echo "-- $name: FAILED"; }
    printf -- '-- %s: %d s\n' "$name" $((SECONDS - from))
}

# --target rather than a venv, which would not see the torch of another venv; --no-deps, or pip would look for torch
$python -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl || exit
export PYTHONPATH=$PWD:$site${PYTHONPATH:+:$PYTHONPATH} PATH=$site/bin:$PATH
export NO_ALBUMENTATIONS_UPDATE=1 MPLBACKEND=Agg PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore PYTHONDONTWRITEBYTECODE=1
[ "${DRY:-}" ] || nvidia-smi
$python - ${DRY:+dry} <<'PY' || exit
import sys, torch
if not torch.cuda.is_available() and len(sys.argv) < 2: sys.exit('gpu.sh: torch sees no card')
PY

check() { # one epoch in each precision that the card has
    $python - <<'PY'
import math, torch
from cifar_oc.all import *
card = torch.cuda.is_available()
for precision in ('fp32', 'bf16', 'fp16') if card else ('fp32',):
    learn = cifar_learner(cifar_dls(demo_cifar10(n_train=256, n_test=64), bs=64), precision=precision)
    with learn.no_bar(), learn.no_logging(): learn.fit_course(1, (1e-4, 1e-3))
    loss = float(learn.recorder.losses[-1])
    assert math.isfinite(loss) and next(learn.model.parameters()).is_cuda == card
    print(precision, 'loss', loss)
PY
}
export -f check
export python
step 60 'CUDA check' bash -c check
step 90 data $python -c 'import sys; from cifar_oc.all import *; print(load_cifar10(sys.argv[1]))' "$data"
seeds=${SEEDS:-0,1,2}
if [ "${4:-speed}" = accuracy ]; then
    recipes=course,best,quick,chikka-era-s10,ravinaik-era-s10,senthilva-eva,ojhajayant-eva8,sumsumsp-era few=
    [ "${DRY:-}" ] && recipes=course,quick seeds=0 few='--epochs 1 --source demo'
    step 420 recipes $python -c 'from cifar_oc.cli import bench_command; bench_command()' --source "$data" --recipes $recipes --seeds "$seeds" \
        --runs "$out/runs" --out "$out/gpu-recipes.json" $few
    for study in rates levers; do
        step 420 $study $python bench/choices.py $study $quick --source "$data" --seeds "$seeds" --runs "$out/runs" --out "$out/gpu-$study.json"
    done
    find "$out/runs" -name model.safetensors -delete # they are large; the figures stay
else
    step 120 seeds $python bench/seeds.py $quick --source "$data" --seeds "$seeds" --out "$out/gpu-seeds.json"
    step 90 step $python bench/step.py $quick --source "$data" --out "$out/gpu-step.json"
    step 120 scale $python bench/scale.py $quick --source "$data" --out "$out/gpu-scale.json"
    step 150 epoch $python bench/epoch.py $few --source "$data" --out "$out/gpu-epoch.json"
    step 120 memory $python bench/memory.py $few --source "$data" --out "$out/gpu-memory.json"
    step 150 loader $python bench/loader.py $few --source "$data" --out "$out/gpu-loader.json"
    if [ -z "${DRY:-}" ] && $python -c 'import nbdev, execnb' 2>/dev/null; then
        step 300 'notebooks, their CUDA cells too' $python -c 'from nbdev.test import nbdev_test; nbdev_test(path="nbs", flags="cuda", n_workers=4, do_print=True)'
    fi
fi
printf '\n%d steps failed, %d s in all; figures in %s\n' "$failed" "$SECONDS" "$out"
exit $((failed > 0))
