"The scripts in `bench/`: their options, their bad input, and the form of what they write."
import json, os, subprocess, sys
from pathlib import Path
import pytest

bench = Path(__file__).parents[1]/'bench'

def run(script, *args, **kwargs):
    return subprocess.run([sys.executable, '-W', 'ignore', bench/script, *map(str, args)], capture_output=True, text=True, env=os.environ | {'CIFAR_OC_DATA': ''}, **kwargs)

@pytest.mark.parametrize('script', ['loader.py', 'step.py', 'epoch.py', 'memory.py', 'seeds.py', 'choices.py'])
def test_options(script, tmp_path):
    "Help at once; bad input is one line and exit status 2."
    done = run(script, '--help')
    assert done.returncode == 0 and all(o in done.stdout for o in ('--quick', '--out', '--source'))
    study = ['levers']*(script == 'choices.py')
    for bad in ['--fast'], ['--source', tmp_path/'nowhere'], ['--out', tmp_path/'no'/'folder.json']:
        done = run(script, *study, *bad)
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

@pytest.mark.parametrize('study', ['recipes', 'levers', 'rates'])
def test_choices(study, tmp_path):
    "A study holds training pictures out, goes on where it was cut, and takes no other setting's runs for its own."
    out = tmp_path/'choices.json'
    done = run('choices.py', study, '--quick', '--out', out)
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    assert len(written['runs']) == 2 and not written['runs'][0]['tta'] and 'held out' in written['setting']
    written['runs'] = [written['runs'][0] | {'accuracy': .125}]
    out.write_text(json.dumps(written))
    assert run('choices.py', study, '--quick', '--out', out).returncode == 0
    assert [o['accuracy'] == .125 for o in json.loads(out.read_text())['runs']] == [True, False]
    out.write_text(json.dumps(written | {'setting': 'another'}))
    done = run('choices.py', study, '--quick', '--out', out)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1) and 'give another --out' in done.stderr

def test_gpu_script():
    "Wrong arguments are one line and exit status 2."
    for args in [], ['nowhere', 'nowhere'], ['.', '.', '.', 'sleep']:
        done = subprocess.run(['bash', bench/'gpu.sh', *args], capture_output=True, text=True)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, '', 1), done
