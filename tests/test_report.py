"`cifar-oc-report` on the folder of a real run: what it writes, and what it says to a folder that is none."
import csv, html, json, os, re, shlex, shutil, sys
import pytest
import safetensors.torch as st
import yaml
from conftest import finish, start, write_pictures

env = lambda: os.environ | dict(OMP_NUM_THREADS='1')  # sums are the same in the same number of threads

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A finished run whose pictures can be harmed."
    folder = tmp_path_factory.mktemp('report')
    source = write_pictures(folder/'my pictures')
    status,_,err = finish(start('--source', source, *'--epochs 2 --bs 8 --lr_min 1e-4 --lr_max 1e-3 --seed 3'.split(), '--out', folder/'run', env=env()))
    assert status == 0, err
    return folder/'run'

def state(*folders): return {p: p.read_bytes() for f in folders for p in f.rglob('*') if p.is_file()}

def report(monkeypatch, capfd, *args):
    "Exit status, stdout and stderr of `cifar-oc-report`, in this process."
    from cifar_oc.cli import report_command
    monkeypatch.setattr(sys, 'argv', ['cifar-oc-report', *map(str, args)])
    status = 0
    try: report_command()
    except SystemExit as e: status = e.code
    return status, *capfd.readouterr()

def history(run):
    with (run/'history.csv').open() as f: return [{k: v for k,v in row.items() if k != 'seconds'} for row in csv.DictReader(f)]

def test_page_says_what_the_run_says(run):
    page,md,m = (run/'report.html').read_text('utf-8'),(run/'README.md').read_text('utf-8'),json.loads((run/'metrics.json').read_text('utf-8'))
    for text in f"{m['accuracy']:.2%}", '20 test pictures', m['machine'], 'multiply adds', '37,748,736', m['data'], *m['versions'].values():
        assert text in html.unescape(page), text
        assert re.sub(r'(?<!\\)\\', '', md).count(text), text
    assert set(re.findall(r'\]\((.*?)\)', md)) == {f.name for f in run.glob('*.png')}
    docs = '<a href="https://cifar-oc.github.io/cifar_oc/">'  # a link, which nothing loads
    assert page.count(docs) == 1 and not re.search(r'''(src|href)=["']?(https?:)?//''', page.replace(docs, '')) and len(page) < 3e6

def test_command_makes_the_run_again(run, tmp_path):
    page = (run/'report.html').read_text('utf-8')
    command = shlex.split(html.unescape(re.search(r'<pre><code>(.*?)</code>', page, re.S)[1]))
    assert command[0] == 'cifar-oc-train'
    status,_,err = finish(start(*command[1:], '--out', tmp_path/'again', env=env()))
    assert status == 0, err
    assert history(tmp_path/'again') == history(run)

def test_written_again(run, tmp_path, monkeypatch, capfd):
    shutil.copytree(run, copy := tmp_path/'run')
    for f in copy.glob('report.*'): f.write_text('old')
    status,out,_ = report(monkeypatch, capfd, copy)
    assert (status, out) == (0, f'wrote {copy}/report.html\n')
    assert {p.name for p in copy.iterdir()} == {p.name for p in run.iterdir()} and 'Confusion matrix' in (copy/'report.html').read_text('utf-8')
    before = state(copy)
    assert report(monkeypatch, capfd, copy, '--out', tmp_path/'there')[0] == 0
    assert (tmp_path/'there/README.md').exists() and state(copy) == before

def test_own_readme_is_kept(run, tmp_path, monkeypatch, capfd):
    "A README.md of somebody else, as in a git repository, is not written over; one of ours is, where it lies."
    monkeypatch.chdir(tmp_path)
    (tmp_path/'README.md').write_text('# My project')
    status,_,err = report(monkeypatch, capfd, run, '--out', '.')
    assert status == 2 and 'README.md was not written by cifar_oc' in err and len(err.splitlines()) == 1, err
    assert [p.name for p in tmp_path.iterdir()] == ['README.md'] and (tmp_path/'README.md').read_text() == '# My project'

def test_card(run):
    "The README of a run on other pictures is a model card that does not name CIFAR-10 as its data set."
    head,text = (run/'README.md').read_text('utf-8').removeprefix('---\n').split('\n---\n', 1)
    card,m = yaml.safe_load(head),json.loads((run/'metrics.json').read_text('utf-8'))
    (result,) = card['model-index'][0]['results']
    assert result['metrics'][0]['value'] == m['accuracy'] and result['dataset'] == dict(type='custom', name=m['data'], split='test')
    assert 'datasets' not in card and 'not the original pictures of CIFAR-10' in text.replace('\\', '') and "Run.from_hub('NAME')" in text

def test_several(run, tmp_path, monkeypatch, capfd):
    shutil.copytree(run, tmp_path/'other')
    monkeypatch.chdir(tmp_path)
    status,out,_ = report(monkeypatch, capfd, run, 'other')
    assert (status, out) == (0, 'wrote comparison/compare.html\n')
    assert {p.name for p in (tmp_path/'comparison').iterdir()} == {'compare.html', 'compare.md', 'compare.png'}

def unreadable(run):
    "A copy of the run's pictures, one of them broken, is the source now."
    config = json.loads((run/'config.json').read_text('utf-8'))
    shutil.copytree(config['source'], source := run.parent/'broken')
    next((source/'test').rglob('*.png')).write_bytes(b'no picture')
    (run/'config.json').write_text(json.dumps(config | dict(source=str(source))))

def other_data(run):
    config = json.loads((run/'config.json').read_text('utf-8'))
    (run/'config.json').write_text(json.dumps(config | dict(source=str(write_pictures(run.parent/'more', n_train=60)))))

def other_weights(run):
    "The weights of another run of the same network: each a little off."
    weights = run/'model.safetensors'
    st.save_file({k: v*1.0001 if v.is_floating_point() else v for k,v in st.load_file(weights).items()}, weights)

def other_history(run):
    lines = (run/'history.csv').read_text(encoding='utf-8').splitlines()
    (run/'history.csv').write_text('\n'.join(lines[:-1]) + '\n', encoding='utf-8')

def change(run, name, **values):
    "`values` in a JSON file of the run, taken out where they are None."
    o = json.loads((run/name).read_text(encoding='utf-8')) | values
    (run/name).write_text(json.dumps({k: v for k,v in o.items() if v is not None}), encoding='utf-8')

def other_shape(run):
    weights = run/'model.safetensors'
    st.save_file({k: v.repeat(2, *[1]*(v.ndim - 1)) if v.ndim else v for k,v in st.load_file(weights).items()}, weights)

harms = { # what is done to a run folder, and what the line says of it
    'no run': (lambda run: (run/'config.json').unlink(), 'no run folder'),
    'not finished': (lambda run: (run/'metrics.json').unlink(), 'is not finished'),
    'no history': (lambda run: (run/'history.csv').unlink(), 'no history.csv'),
    'no weights': (lambda run: (run/'model.safetensors').unlink(), 'has no weights'),
    'half the weights': (lambda run: (run/'model.safetensors').write_bytes((run/'model.safetensors').read_bytes()[:9999]), 'does not hold the weights'),
    'weights of another shape': (other_shape, 'does not hold the weights'),
    'weights of another run': (other_weights, 'does not hold the weights of this run'),
    'half the weights, not verified': (lambda run: (change(run, 'metrics.json', sha256=None), (run/'model.safetensors').write_bytes(b'half')), 'does not hold the weights of this network'),
    'history of another run': (other_history, 'not those of the run'),
    'configuration of another run': (lambda run: change(run, 'config.json', seed=4), 'config.json says seed 4, and metrics.json 3'),
    'broken configuration': (lambda run: (run/'config.json').write_text('{'), 'config.json'),
    'broken metrics': (lambda run: (run/'metrics.json').write_text('[1]'), 'metrics.json is not the JSON of a run'),
    'metrics of another run': (lambda run: (run/'metrics.json').write_text(json.dumps(json.loads((run/'metrics.json').read_text('utf-8')) | dict(accuracy=2))), 'not those of the run'),
    'source gone': (lambda run: change(run, 'config.json', source='nowhere'), 'nowhere does not exist'),
    'unreadable picture': (unreadable, '.png'),
    'other data': (other_data, 'the pictures are now')}

@pytest.mark.parametrize('harm,says', harms.values(), ids=harms)
def test_bad_run(harm, says, run, tmp_path, monkeypatch, capfd):
    shutil.copytree(run, copy := tmp_path/'run')
    harm(copy)
    before = state(tmp_path)
    status,_,err = report(monkeypatch, capfd, copy)
    assert status == 2 and says in err and len(err.splitlines()) == 1 and 'Traceback' not in err, err
    assert state(tmp_path) == before

def test_made_before_checksums(run, tmp_path, monkeypatch, capfd):
    "A run without the sha256 of its weights opens, with one warning."
    shutil.copytree(run, copy := tmp_path/'run')
    change(copy, 'metrics.json', sha256=None)
    status,out,err = report(monkeypatch, capfd, copy)
    assert (status, out) == (0, f'wrote {copy}/report.html\n')
    assert len([l for l in err.splitlines() if 'warning: ' in l and 'weights not verified' in l]) == 1

def test_broken_network(tmp_path, monkeypatch, capfd):
    "A run that ends in NaN is reported, and its files are what they say: JSON, with null."
    from functools import partial
    from cifar_oc import train as module
    from cifar_oc.model import CustomResNet
    from cifar_oc.recipes import networks
    def broken(*args):
        net = CustomResNet(*args, width=4)
        net.fc.bias.data.fill_(float('nan'))
        return net
    monkeypatch.setitem(networks, 'course', broken)
    source = write_pictures(tmp_path/'pictures of ü')
    with pytest.warns(UserWarning, match='20 of 20 predictions are NaN and count'):
        module.train(source, epochs=1, bs=8, lr_min=1e-4, lr_max=1e-3, seed=0, precision='fp32', out=tmp_path/'run')
    no_nan = lambda o: pytest.fail(f'{o} is no JSON')
    assert json.loads((tmp_path/'run/metrics.json').read_text(encoding='utf-8'), parse_constant=no_nan)['loss'] is None
    page = (tmp_path/'run/report.html').read_text(encoding='utf-8')
    assert '20 predictions are NaN' in page
    json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1], parse_constant=no_nan)
    shutil.copytree(tmp_path/'run', tmp_path/'copy')
    assert report(monkeypatch, capfd, tmp_path/'run', tmp_path/'copy', '--out', tmp_path/'both')[0] == 0
    monkeypatch.setitem(networks, 'course', partial(CustomResNet, width=4))
    status,_,err = report(monkeypatch, capfd, tmp_path/'run')
    assert status == 0 and '20 of 20 predictions are NaN and count' in err

@pytest.mark.skipif(os.name != 'posix', reason='permissions are POSIX')
def test_permissions(run):
    "Every file has what the umask gives, so that others can read it."
    umask = os.umask(0)
    os.umask(umask)
    assert {f.name: f.stat().st_mode & 0o777 for f in run.iterdir()} == {f.name: 0o666 & ~umask for f in run.iterdir()}

@pytest.mark.parametrize('args,says', [('', 'RUN'), ('x --colour red', '--colour'), ('x --out=', 'out is empty'), ('x y', 'x is no run folder'), ('{run} {run}', 'given twice'),
    ('{run} --out {run}/config.json', 'cannot write')])
def test_bad_arguments(args, says, run, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    before = state(run)
    status,_,err = report(monkeypatch, capfd, *args.format(run=run).split())
    assert status == 2 and says in err and len(err.splitlines()) == 1, err
    assert state(run) == before and not list(tmp_path.iterdir())
