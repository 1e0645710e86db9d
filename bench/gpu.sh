#!/usr/bin/env bash
# gpu.sh WHEELS DATA [OUT [STEPS]]: the CUDA checks, the benchmarks and the studies of accuracy, on a machine that has Python and torch with a card, and no network.
# WHEELS: a folder with the other wheels that the package needs (pip download --no-deps); DATA: a folder or archive of CIFAR-10; OUT: where gpu-*.json and the run
# folders go (default: results/bench). STEPS, with commas between them (default: check,notebooks,step,epoch,memory,seeds):
#   check       an epoch of drawn pictures in each precision      notebooks  the notebooks that have CUDA cells (needs nbdev)
#   step, epoch, memory, seeds                                    these benchmarks
#   recipes     RECIPES (default: course,best,quick) on SEEDS, by cifar-oc-bench
#   rates, levers-N                                               these studies of choices.py; levers in N epochs
# SEEDS=0,1,2,3,4 gives other seeds than 0,1,2; WORKERS=2 trains two at once, not four; SITE=DIR keeps the installed wheels for the next call.
# No step goes on for longer than LIMIT (530) seconds after the start. What is finished counts: the same command goes on, if OUT is the same.
# DRY=1 runs it on a processor, with the sizes of --quick, to see that it works.
set -uo pipefail
steps=${4:-check,notebooks,step,epoch,memory,seeds}
known='^((check|notebooks|step|epoch|memory|seeds|recipes|rates|levers-[1-9][0-9]*)(,|$))+$'
(($# >= 2 && $# <= 4)) && [[ $steps =~ $known ]] || { echo "usage: bench/gpu.sh WHEELS DATA [OUT [STEPS]], with the steps that its first lines list" >&2; exit 2; }
[ -d "$1" ] || { echo "gpu.sh: WHEELS $1 is no folder" >&2; exit 2; }
[ -e "$2" ] || { echo "gpu.sh: DATA $2 does not exist" >&2; exit 2; }
wheels=$(realpath "$1") data=$(realpath "$2") out=$(realpath -m "${3:-results/bench}")
cd "$(dirname "$0")/.." || exit
mkdir -p "$out" || exit
site=$(realpath -m "${SITE:-$(mktemp -d)}")
[ "${SITE:-}" ] || trap 'rm -rf "$site"' EXIT
python=${PYTHON:-python3} seeds=${SEEDS:-0,1,2} workers=${WORKERS:-4} limit=${LIMIT:-530}
recipes=${RECIPES:-course,best,quick}
quick=${DRY:+--quick} few=${DRY:+--quick} short=${DRY:+--epochs 1}
[ "${DRY:-}" ] && pictures=demo || pictures=$data # of full runs and studies
few=${few:---rounds 3} # enough where the marks are for a processor
failed=0

# --target rather than a venv, which would not see the torch of another venv; --no-deps, or pip would look for torch;
# the package too, for the version that a run notes: the checkout itself comes first on the path
[ -d "$site/cifar_oc" ] || $python -m pip install -q --no-index --no-deps --no-build-isolation --no-cache-dir --target "$site" "$wheels"/*.whl . || exit
export PYTHONPATH=$PWD:$site${PYTHONPATH:+:$PYTHONPATH} PATH=$site/bin:$PATH
export NO_ALBUMENTATIONS_UPDATE=1 MPLBACKEND=Agg PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore
[ "${DRY:-}" ] || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
$python - ${DRY:+dry} <<'PY' || exit
import sys, torch
if not torch.cuda.is_available() and len(sys.argv) < 2: sys.exit('gpu.sh: torch sees no card')
PY

step() { # name, command...
    local name=$1 from=$SECONDS left=$((limit - SECONDS))
    shift
    printf '\n== %s\n' "$name"
    timeout --kill-after 5 $((left > 0 ? left : 1)) "$@" || { failed=$((failed + 1)); echo "-- $name: FAILED"; }
    printf -- '-- %s: %d s\n' "$name" $((SECONDS - from))
}

bench() { # script, options...
    local name=$1
    shift
    step "$name" $python "bench/$name.py" "$@" --source "$data" --out "$out/gpu-$name.json"
}

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

notebooks() { # with their CUDA cells, where there is a card
    grep -l '#| cuda' nbs/*.ipynb | xargs -P 4 -n 1 $python -c 'import os, sys; from nbdev.test import nbdev_test
nbdev_test(path=sys.argv[1], flags="" if os.environ.get("DRY") else "cuda", n_workers=0, do_print=True)'
}

study() { # name, options of choices.py...
    local name=$1
    shift
    step "$name" $python bench/choices.py "$@" $quick --source "$pictures" --seeds "$seeds" --workers "$workers" --runs "$out" --out "$out/gpu-$name.json"
}
export -f check notebooks
export python

IFS=, read -ra names <<<"$steps"
for name in "${names[@]}"; do
    case $name in
        check | notebooks) step "$name" bash -c "$name" ;;
        step) bench step $quick ;;
        epoch | memory) bench "$name" $few ;;
        seeds) bench seeds $quick --seeds "$seeds" ;;
        recipes)
            step recipes $python -c 'from cifar_oc.cli import bench_command; bench_command()' --source "$pictures" --recipes "$recipes" --seeds "$seeds" \
                --workers "$workers" --runs "$out/recipes" --out "$out/gpu-recipes.json" $short
            ;;
        rates) study rates rates ;;
        levers-*) study "$name" levers --epochs "${name#levers-}" ;;
    esac
done
printf '\n%d steps failed, %d s in all; figures in %s\n' "$failed" "$SECONDS" "$out"
exit $((failed > 0))
