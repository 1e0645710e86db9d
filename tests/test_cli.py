"The command line: what it says to bad input, and what it leaves behind (nothing)."
import re, shutil, subprocess, sys, tarfile
import pytest
from PIL import Image
from cifar_oc import cli
from conftest import finish, start_new

options = '--source --epochs --bs --lr_min --lr_max --valid --precision --seed --out --resume'.split()
heavy = {'torch', 'fastai', 'numpy', 'pandas', 'matplotlib', 'albumentations', 'cv2', 'onnx', 'onnxscript'}

def bad_sources(pictures, folder):
    "Data sets in `folder` that cannot be used."
    classes = sorted(d.name for d in (pictures/'train').iterdir())
    for name in 'nine', 'size', 'broken': shutil.copytree(pictures, folder/name)
    for split in 'train', 'test': shutil.rmtree(folder/'nine'/split/classes[0])
    first = next((folder/'size/train'/classes[0]).iterdir())
    Image.open(first).resize((31, 32)).save(first)
    next((folder/'broken/train'/classes[0]).iterdir()).write_bytes(b'no picture')
    (folder/'layout/a/b').mkdir(parents=True)
    (folder/'layout/a/b/c.png').write_bytes(b'')
    with tarfile.open(folder/'whole.tar.gz', 'w:gz') as t: t.add(pictures, 'set')
    data = (folder/'whole.tar.gz').read_bytes()
    (folder/'cut.tar.gz').write_bytes(data[:len(data)*2//3])
    (folder/'corrupt.tar.gz').write_bytes(data[:1000] + bytes(1000) + data[2000:])
    (folder/'text.tgz').write_text('no archive')
    (folder/'file').write_text('a file')
    (folder/'empty').mkdir()
    return folder

@pytest.fixture(scope='session')
def bad(pictures, tmp_path_factory): return bad_sources(pictures, tmp_path_factory.mktemp('bad'))

good = '--source {pictures} --epochs 1 --bs 16 --lr_min 1e-5 --lr_max 1e-3 --seed 1 --out {work}/run'
cases = { # what is given (a later option wins), and what the line says of it
    'missing path': ('--source {bad}/nowhere', 'nowhere does not exist'),
    'wrong layout': ('--source {bad}/layout', 'layout'),
    'empty folder': ('--source {bad}/empty', 'empty'),
    'no archive': ('--source {bad}/text.tgz', 'text.tgz'),
    'truncated archive': ('--source {bad}/cut.tar.gz', 'cut.tar.gz'),
    'corrupt archive': ('--source {bad}/corrupt.tar.gz', 'corrupt.tar.gz'),
    'broken picture': ('--source {bad}/broken', '/broken'),
    'nine classes': ('--source {bad}/nine', '9 classes'),
    'wrong size': ('--source {bad}/size', '31×32'),
    'bs 1': ('--bs 1', 'bs is 1'),
    'epochs 0': ('--epochs 0', 'epochs is 0'),
    'epochs 1.5': ('--epochs 1.5', '--epochs'),
    'rates crossed': ('--lr_min 1e-3 --lr_max 1e-5', 'lr_min'),
    'rates equal': ('--lr_min 1e-3', 'lr_min'),
    'rate of zero': ('--lr_min 0', 'lr_min'),
    'rate infinite': ('--lr_max inf', 'lr_max'),
    'valid 1.5': ('--valid 1.5', 'valid'),
    'valid a word': ('--valid train', '--valid'),
    'precision fp64': ('--precision fp64', 'fp64'),
    'seed a word': ('--seed one', '--seed'),
    'unknown option': ('--colour red', '--colour'),
    'out exists': ('--out {bad}/empty', 'empty exists'),
    'out below a file': ('--out {bad}/file/run', 'file/run'),
    'bad source, out deep': ('--source {bad}/nine --out {work}/a/b/run', '9 classes'),
    'resume no run': ('--resume {bad}/empty', 'empty'),
    'resume nowhere': ('--resume {bad}/nowhere', 'nowhere'),
    'resume nothing': ('--resume=', 'resume is empty'),
    'resume and more': ('--resume {bad}/empty --bs 4', '--resume')}

def tree(*folders): return {p: p.stat().st_size for f in folders for p in f.rglob('*')}

def check(status, err, says):
    assert status == 2
    assert err.endswith('\n') and len(err.splitlines()) == 1, err
    assert says in err and 'Traceback' not in err

def arguments(given, names):
    line = given if '--resume' in given else f'{good} {given}'
    return [o.format(**names) for o in line.split()]

@pytest.mark.parametrize('given,says', cases.values(), ids=cases)
def test_bad_input(given, says, pictures, bad, tmp_path, monkeypatch, capfd):
    from cifar_oc.cli import train_command
    names,before = dict(pictures=pictures, bad=bad, work=tmp_path),tree(bad, pictures)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['cifar-oc-train', *arguments(given, names)])
    with pytest.raises(SystemExit) as e: train_command()
    check(e.value.code, capfd.readouterr().err, says)
    assert not tree(tmp_path) and tree(bad, pictures) == before

@pytest.mark.parametrize('line,says', [('report nowhere', 'nowhere'), ('recipes corse', 'corse'), ('export nowhere --to pickle', 'pickle'),
    ('bench --seeds 0,x', '--seeds'), ('bench --recipes best,best', 'best')])
def test_bad_input_of_other_commands(line, says, tmp_path, monkeypatch, capfd):
    name,*args = line.split()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [f'cifar-oc-{name}', *args])
    with pytest.raises(SystemExit) as e: getattr(cli, f'{name}_command')()
    check(e.value.code, capfd.readouterr().err, says)
    assert not list(tmp_path.iterdir())

def test_only_one_rate(pictures, tmp_path, monkeypatch, capfd):
    from cifar_oc.cli import train_command
    monkeypatch.chdir(tmp_path)
    for given in '--lr_min', '--lr_max':
        monkeypatch.setattr(sys, 'argv', ['cifar-oc-train', '--source', str(pictures), given, '1e-4'])
        with pytest.raises(SystemExit) as e: train_command()
        check(e.value.code, capfd.readouterr().err, 'only one of lr_min and lr_max')
    assert not list(tmp_path.iterdir())

@pytest.mark.parametrize('name', ['unknown option', 'precision fp64', 'missing path', 'truncated archive'])
def test_bad_input_in_a_process(name, pictures, bad, tmp_path):
    given,says = cases[name]
    given = given if name in ('unknown option', 'precision fp64') else f'{given} --out runs/new'
    status,_,err = finish(start_new(*arguments(given, dict(pictures=pictures, bad=bad, work=tmp_path)), cwd=tmp_path))
    check(status, err, says)
    assert not list(tmp_path.iterdir())

def test_help():
    status,out,err = finish(start_new('--help'))
    assert (status, err) == (0, '')
    assert [o for o in options if not re.search(rf'{o}\b', out)] == []

@pytest.mark.parametrize('name,args', [('train', '--help'), ('train', '--colour red'), ('train', '--resume x --bs 4'), ('report', '--help'), ('report', ''), ('predict', '--help'), ('predict', 'x'), ('export', '--help'), ('export', 'x --to y')])
def test_light(name, args):
    "Nothing heavy is imported before it is needed: `--help` is quick because of it."
    code = (f'import sys; sys.argv = "cifar-oc-{name} {args}".split()\nfrom cifar_oc.cli import {name}_command\n'
            f'try: {name}_command()\nexcept SystemExit: pass\nprint("loaded", *({heavy!r} & set(sys.modules)))')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1].split() == ['loaded']
