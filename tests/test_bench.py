"The scripts in `bench/`: their options, their bad input, and the form of what they write."
import json, os, subprocess, sys
from pathlib import Path
import pytest
from conftest import finish, write_pictures
from forked import Forked, forks, script

bench = Path(__file__).parents[1]/'bench'

def run(script, *args, **kwargs):
    return subprocess.run([sys.executable, '-W', 'ignore', bench/script, *map(str, args)], capture_output=True, text=True, env=os.environ | {'CIFAR_OC_DATA': ''}, **kwargs)

@pytest.mark.parametrize('script', ['loader.py', 'step.py', 'epoch.py', 'memory.py', 'conv.py', 'scale.py', 'seeds.py', 'choices.py', 'predict.py'])
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
    written = json.loads((tmp_path/'step.json').read_text('utf-8'))
    assert {'machine', 'versions', 'command', 'figures'} <= set(written) and written['command'] == 'python bench/step.py --quick --bs 8'
    assert all(f['value'] > 0 and f['better'] in ('higher', 'lower') and {'name', 'unit', 'mark'} <= set(f) for f in written['figures'])
    v = {f['name']: f['value'] for f in written['figures']}
    assert v['ours ÷ bare loop'] == pytest.approx(v['ours']/v['bare loop'], rel=.01)
    assert [p.name for p in tmp_path.iterdir()] == ['step.json']

def fork(name, *args):
    "Exit status and stderr of a script"
    status,_,err = finish(Forked(script, bench/name, *map(str, args), env=os.environ | {'CIFAR_OC_DATA': ''}))
    return status, err

@pytest.mark.skipif(not forks, reason='a fork of a process that has imported torch is safe on Linux only')
@pytest.mark.parametrize('study', ['levers', 'rates'])
def test_choices(study, tmp_path):
    "A study holds training pictures out, resumes, and takes no other setting's runs for its own."
    source = write_pictures(tmp_path/'pictures', n_train=200)
    args = 'choices.py', study, '--quick', '--source', source, '--precision', 'fp32', '--runs', tmp_path/'runs', '--out', tmp_path/'choices.json'
    assert fork(*args)[0] == 0
    written = json.loads((tmp_path/'choices.json').read_text('utf-8'))
    assert written['command'] == f'python bench/choices.py {study} --quick --source pictures --precision fp32 --runs runs'
    assert [(o['seed'], o['valid'], o['n'], o['epochs'], o['tta']) for o in written['runs']] == [(0, .1, 20, 1, False)]*2
    folders = sorted((tmp_path/'runs').glob('*/*'))
    assert len(folders) == 2
    for f in 'metrics.json', 'model.safetensors': (folders[0]/f).unlink()
    kept = {f: f.stat().st_mtime for f in folders[1].iterdir()}
    assert fork(*args)[0] == 0
    again = json.loads((tmp_path/'choices.json').read_text('utf-8'))
    assert [o['recipe'] for o in again['runs']] == [o['recipe'] for o in written['runs']] and (folders[0]/'metrics.json').exists()
    assert {f: f.stat().st_mtime for f in folders[1].iterdir()} == kept
    for bad,said in (['--precision', 'bf16'], 'give another folder'), (['--only', 'nothing'], '--only names nothing'):
        status,err = fork(*args, *bad)
        assert (status, len(err.splitlines())) == (2, 1) and said in err, err

def test_together(monkeypatch):
    "Levers whose gain is more than twice its standard error are trained together; one alone, or one run each, are not."
    monkeypatch.syspath_prepend(str(bench))
    import choices
    def runs(**gains): return [dict(recipe=k, seed=s, accuracy=.9 + s/100 + o/100) for k,each in gains.items() for s,o in enumerate(each)]
    gains = {'quick': [0, 0, 0], 'weight decay .4': [.4, .5, .6], 'batch 256': [.9, -.4, .1], 'logits ÷ 4': [.2, .3, .2]}
    (name, recipe), = choices.together(runs(**gains)).items()
    assert (name, recipe.weight_decay, recipe.network, recipe.bs) == ('weight decay .4 and logits ÷ 4', .4, 'course, logits ÷ 4', 512)
    assert choices.together(runs(**gains | {'logits ÷ 4': [-.2, -.3, -.2]})) == {}
    assert choices.together(runs(**{k: o[:1] for k,o in gains.items()})) == {}

def test_gpu_script():
    "Wrong arguments are one line and exit status 2."
    for args in [], ['nowhere', 'nowhere'], ['.', '.', '.', 'sleep'], ['.', '.', '.', 'check,sleep'], ['.', '.', '.', 'levers-0']:
        done = subprocess.run(['bash', bench/'gpu.sh', *args], capture_output=True, text=True)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, '', 1), done
