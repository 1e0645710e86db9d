"The scripts in `bench/`: their options, their bad input, and the form of what they write."
import json, os, subprocess, sys
from pathlib import Path
import pytest

bench = Path(__file__).parents[1]/'bench'

def run(script, *args, **kwargs):
    return subprocess.run([sys.executable, '-W', 'ignore', bench/script, *map(str, args)], capture_output=True, text=True, env=os.environ | {'CIFAR_OC_DATA': ''}, **kwargs)

@pytest.mark.parametrize('script', ['loader.py', 'step.py', 'epoch.py', 'memory.py', 'conv.py', 'seeds.py', 'choices.py', 'predict.py'])
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

@pytest.mark.parametrize('study', ['recipes', 'levers', 'muon', 'long', 'rates'])
def test_choices(study, tmp_path):
    "A study holds training pictures out, goes on where it was cut, and takes no other setting's runs for its own."
    out = tmp_path/'choices.json'
    done = run('choices.py', study, '--quick', '--out', out)
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text('utf-8'))
    assert len(written['runs']) == 2 and not written['runs'][0]['tta'] and 'held out' in written['setting']
    written['runs'] = [written['runs'][0] | {'accuracy': .125}]
    out.write_text(json.dumps(written))
    assert run('choices.py', study, '--quick', '--out', out).returncode == 0
    assert [o['accuracy'] == .125 for o in json.loads(out.read_text('utf-8'))['runs']] == [True, False]
    out.write_text(json.dumps(written | {'setting': 'another'}))
    done = run('choices.py', study, '--quick', '--out', out)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1) and 'give another --out' in done.stderr
    done = run('choices.py', study, '--quick', '--only', 'nothing')
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1) and '--only names nothing' in done.stderr

def test_changes_of_the_learner(monkeypatch):
    "Alternating flip shows each picture and its mirror image by turns, a hole ends when it should, and biases have their rate."
    import numpy as np
    from fastai.vision.all import Callback
    from cifar_oc.all import cifar_dls, cifar_learner, demo_cifar10, recipes
    monkeypatch.syspath_prepend(bench)
    import choices
    ds, seen = demo_cifar10(n_train=32, n_test=16), []
    class Spy(Callback):
        order = 99
        def before_batch(self):
            if not self.training: return
            aug, items = choices.augmentation(self.learn), self.dls.train_ds.tls[0].tfms
            seen.append((aug.flip_p, aug.hole_p, items(np.arange(32)), items(np.arange(32, 48)), [o['lr'] for o in self.opt.hypers]))
    def epochs(name):
        seen.clear()
        learn = cifar_learner(cifar_dls(ds, 16, seed=0), model=recipes['course'].net(10, width=8), cbs=Spy())
        choices.TWEAKS[name](learn)
        with learn.no_bar(), learn.no_logging(): learn.fit_course(4, (1e-4, 1e-3))
        return seen[::2]
    for (p, _, x, valid, _), (_, _, after, _, _) in zip((rows := epochs('alternating flip')), rows[1:]):
        assert p == 0 and (after == x[:,:,::-1]).all() and (valid == ds.test_x).all()
    assert 0 < sum((a == b).all() for a,b in zip(rows[0][2], ds.train_x)) < 32
    assert [o[1] for o in epochs('hole in the first three quarters')] == [1, 1, 1, 0]
    assert all(o[4] == pytest.approx([o[4][0], o[4][0], 8*o[4][0]]) for o in epochs('rate of biases × 8'))

def test_gpu_script():
    "Wrong arguments are one line and exit status 2."
    for args in [], ['nowhere', 'nowhere'], ['.', '.', '.', 'sleep']:
        done = subprocess.run(['bash', bench/'gpu.sh', *args], capture_output=True, text=True)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, '', 1), done
