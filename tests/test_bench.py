"The scripts in `bench/`: their options, their bad input, and the form of what they write."
import json, os, subprocess, sys
from pathlib import Path
import pytest

bench = Path(__file__).parents[1]/'bench'

def run(script, *args, **kwargs):
    return subprocess.run([sys.executable, '-W', 'ignore', bench/script, *map(str, args)], capture_output=True, text=True, env=os.environ | {'CIFAR_OC_DATA': ''}, **kwargs)

@pytest.mark.parametrize('script', ['loader.py', 'step.py', 'epoch.py', 'memory.py', 'seeds.py'])
def test_options(script, tmp_path):
    "Help at once; bad input is one line and exit status 2."
    done = run(script, '--help')
    assert done.returncode == 0 and all(o in done.stdout for o in ('--quick', '--out', '--source'))
    for bad in ['--fast'], ['--source', tmp_path/'nowhere'], ['--out', tmp_path/'no'/'folder.json']:
        done = run(script, *bad)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, '', 1), done

def test_figures(tmp_path):
    "What `--out` writes names its machine, and has every figure with its unit and mark."
    done = run('step.py', '--quick', '--bs', '8', '--out', tmp_path/'step.json', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path/'step.json').read_text())
    assert {'machine', 'versions', 'command', 'figures'} <= set(written) and written['command'] == 'python bench/step.py --quick --bs 8'
    assert all(f['value'] > 0 and f['better'] in ('higher', 'lower') and {'name', 'unit', 'mark'} <= set(f) for f in written['figures'])
    v = {f['name']: f['value'] for f in written['figures']}
    assert v['ours ÷ bare loop'] == pytest.approx(v['ours']/v['bare loop'], rel=.01)
    assert [p.name for p in tmp_path.iterdir()] == ['step.json']

def test_gpu_script():
    "Wrong arguments are one line and exit status 2."
    for args in [], ['nowhere', 'nowhere']:
        done = subprocess.run(['bash', bench/'gpu.sh', *args], capture_output=True, text=True)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, '', 1), done
