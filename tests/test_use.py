"A trained run is used from the command line: `cifar-oc-predict` and `cifar-oc-export`."
import json, os
import numpy as np
import pytest
from PIL import Image
from conftest import finish, start
from cifar_oc.config import Config
from cifar_oc.predict import Run

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A run folder whose weights are as they began."
    run = Run.create(tmp_path_factory.mktemp('runs')/'run', Config('demo', seed=0, precision='fp32', vocab=tuple('abcdefghij')))
    run.save_result(run.recipe.net(10), dict(accuracy=.1, loss=2.3, n=20))
    return run

def use(name, *args, **kwargs): return finish(start(*args, name=name, **kwargs))

def test_predict(run, pictures, tmp_path):
    files = sorted(pictures.rglob('*.png'))[:3]
    status,out,err = use('predict', run.path, *files, '--json', '--plot', tmp_path/'p.png')
    assert (status, err) == (0, '')
    said = json.loads(out)
    assert [o['path'] for o in said] == list(map(str, files))
    assert [o['class'] for o in said] == run.predict(files)['class'].tolist()
    assert all(list(o['probabilities']) == list('abcdefghij') and abs(sum(o['probabilities'].values()) - 1) < 1e-4 for o in said)
    assert Image.open(tmp_path/'p.png').width > 500 and os.listdir(tmp_path) == ['p.png']

def test_predict_prints_a_table(run, pictures, monkeypatch, capsys):
    from cifar_oc.cli import predict_command
    folder = next((pictures/'test').iterdir())
    monkeypatch.setattr('sys.argv', ['cifar-oc-predict', str(run.path), str(folder)])
    predict_command()
    head,*lines = capsys.readouterr().out.splitlines()
    want = run.predict(folder)
    assert head.split() == 'picture class probability class 2 probability 2 class 3 probability 3'.split()
    assert len(lines) == len(want)
    assert all(l.strip().startswith(f'{o.picture} ') and o['class'] in l and '%' in l for l,(_,o) in zip(lines, want.iterrows()))

def test_export(run, tmp_path):
    import onnxruntime as ort
    status,out,err = use('export', run.path)
    assert (status, out, err) == (0, f'wrote {run.path}.onnx\n', '')
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    got, = ort.InferenceSession(f'{run.path}.onnx').run(None, {'pictures': x})
    assert np.abs(got - run.probabilities(x).to_numpy()).max() < 1e-5

def bad_cases(run, pictures, tmp):
    good = next((pictures/'test').rglob('*.png'))
    (tmp/'empty').mkdir()
    (tmp/'broken.png').write_bytes(b'no picture')
    yield 'predict', [tmp/'nowhere', good], 'nowhere is no run folder'
    yield 'predict', [run.path, tmp/'none.png'], 'none.png does not exist'
    yield 'predict', [run.path, good, tmp/'broken.png'], 'broken.png cannot be read'
    yield 'predict', [run.path, tmp/'empty'], 'empty holds no pictures'
    yield 'predict', [run.path, ''], 'pictures is empty'
    yield 'predict', [run.path], 'PICTURE'
    yield 'predict', [run.path, good, '--plot', tmp/'p.txt'], 'p.txt is no name of a picture'
    yield 'predict', [run.path, good, '--plot', tmp/'no/p.png'], 'no/p.png'
    yield 'export', [tmp/'nowhere'], 'nowhere is no run folder'
    yield 'export', [run.path, '--to', 'pickle'], '--to'
    yield 'export', [run.path, '--to', 'torch', '--out', tmp/'no/a.pt2'], 'no/a.pt2'
    yield 'export', [run.path, '--out', ''], 'out is empty'

def test_bad_input(run, pictures, tmp_path, monkeypatch, capfd):
    import cifar_oc.cli as cli
    for name,args,says in bad_cases(run, pictures, tmp_path):
        monkeypatch.setattr('sys.argv', [f'cifar-oc-{name}', *map(str, args)])
        with pytest.raises(SystemExit) as e: getattr(cli, f'{name}_command')()
        out,err = capfd.readouterr()
        assert (e.value.code, out, len(err.splitlines())) == (2, '', 1) and says in err, (args, err)
    assert sorted(os.listdir(tmp_path)) == ['broken.png', 'empty']

def test_missing_extra(run, monkeypatch, capfd):
    import cifar_oc.cli as cli
    monkeypatch.setitem(__import__('sys').modules, 'onnxscript', None)
    monkeypatch.setattr('sys.argv', ['cifar-oc-export', str(run.path), '--to', 'onnx'])
    with pytest.raises(SystemExit) as e: cli.export_command()
    err = capfd.readouterr().err
    assert e.value.code == 2 and len(err.splitlines()) == 1 and "pip install 'cifar_oc[export]'" in err
