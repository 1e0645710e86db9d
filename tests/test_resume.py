"A run that is killed and resumed has the history of one that was not."
import csv, json, os, random, shutil, signal, sys, time
from pathlib import Path
import pytest
from cifar_oc import recipes
from conftest import finish, start
from forked import register_small

args = '--recipe small --lr_min 1e-4 --lr_max 1e-3 --seed 7'.split()
env = lambda: os.environ | dict(OMP_NUM_THREADS='1')  # sums are the same in the same number of threads

def begin(pictures, out): return start('--source', pictures, *args, '--out', out, env=env())

def history(out):
    "The rows of `history.csv`, without the column `seconds`."
    with (out/'history.csv').open() as f: return [{k: v for k,v in row.items() if k != 'seconds'} for row in csv.DictReader(f)]

def state(folder): return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}

@pytest.fixture(scope='module')
def whole_and_output(pictures, tmp_path_factory):
    folders = [tmp_path_factory.mktemp('whole')/o for o in 'ab']
    for process in [begin(pictures, o) for o in folders]:
        status,out,err = finish(process)
        assert status == 0, err
    return folders, out

@pytest.fixture(scope='module')
def whole(whole_and_output):
    "The folder of a run that nobody stopped, and of another like it."
    return whole_and_output[0]

@pytest.fixture(scope='module')
def whole_output(whole_and_output): return whole_and_output[1]

def test_output(whole_output):
    "One plain line an epoch where nobody watches, after the lines that say what is used."
    lines = whole_output.splitlines()
    assert [l.split()[0] for l in lines[:4]] == ['data', 'machine', 'rates', 'run']
    assert [l.split()[:2] for l in lines[4:7]] == [['epoch', str(i)] for i in (1, 2, 3)]
    assert lines[7].startswith('accuracy') and len(lines) == 8 and '\r' not in whole_output

def test_run_folder(whole):
    names = {p.name for p in whole[0].iterdir()}
    assert {'config.json', 'history.csv', 'metrics.json', 'model.safetensors', 'report.html', 'README.md'} <= names
    assert {Path(n).suffix for n in names} == {'.json', '.csv', '.safetensors', '.png', '.html', '.md'}
    rows,metrics,config = history(whole[0]),*(json.loads((whole[0]/f'{n}.json').read_text('utf-8')) for n in ('metrics', 'config'))
    assert list(rows[0]) == 'epoch train_loss train_accuracy valid_loss valid_accuracy lr'.split()
    assert [r['epoch'] for r in rows] == ['1', '2', '3']
    assert metrics['accuracy'] == pytest.approx(float(rows[-1]['valid_accuracy']), abs=1e-5)  # the last, not the best
    assert [config[k] for k in ('seed', 'bs', 'epochs', 'lr_min', 'lr_max')] == [7, 8, 3, 1e-4, 1e-3]

def test_same_seed_same_history(whole): assert history(whole[0]) == history(whole[1])

def wait_for(test, process):
    "Wait until `test()` holds; the process must still run then."
    while not test():
        assert process.poll() is None, process.communicate()
        time.sleep(.005)

def kill(process):
    process.kill()
    killed = -signal.SIGKILL if hasattr(signal, 'SIGKILL') else 1  # as Windows has it
    assert finish(process)[0] == killed, 'the run ended before it was killed'

def resume(out):
    status,_,err = finish(start('--resume', out, env=env()))
    assert status == 0, err
    return history(out)

def test_killed_before_first_checkpoint(pictures, whole, tmp_path):
    process = begin(pictures, out := tmp_path/'run')
    wait_for((out/'config.json').exists, process)
    kill(process)
    assert not {'checkpoint.safetensors', 'history.csv'} & {p.name for p in out.iterdir()}
    assert resume(out) == history(whole[0])
    assert {p.name for p in out.iterdir()} == {p.name for p in whole[0].iterdir()}  # no lock, nothing half-written

def test_killed_while_looking_for_rates(pictures, tmp_path):
    "Rates are found: one run is killed while it looks for them, one just after, and one not at all."
    found = ['--source', pictures, *'--recipe small --epochs 1 --seed 7'.split(), '--out']
    outs = [tmp_path/o for o in ('whole', 'looking', 'found')]
    processes = [start(*found, o, env=env()) for o in outs]
    wait_for((outs[1]/'config.json').exists, processes[1])
    kill(processes[1])
    wait_for((outs[2]/'lr_find.csv').exists, processes[2])
    kill(processes[2])
    assert finish(processes[0])[0] == 0
    for o in outs[1:]: assert resume(o) == history(outs[0])
    rates = [[json.loads((o/'config.json').read_text('utf-8'))[k] for k in ('lr_min', 'lr_max')] for o in outs]
    assert rates[0] == rates[1] == rates[2] and 0 < rates[0][0] < rates[0][1]

def test_killed_at_any_moment_after(pictures, whole, tmp_path):
    with (whole[0]/'history.csv').open() as f: second = float(list(csv.DictReader(f))[1]['seconds'])
    process = begin(pictures, out := tmp_path/'run')
    wait_for((out/'checkpoint.safetensors').exists, process)
    time.sleep(pause := random.uniform(0, second))
    kill(process)
    assert resume(out) == history(whole[0]), f'killed {pause} s after the first checkpoint'
    assert {p.name for p in out.iterdir()} == {p.name for p in whole[0].iterdir()}

def test_killed_after_last_epoch(pictures, whole, tmp_path):
    "Between the last checkpoint and the history there is a moment too."
    process = begin(pictures, out := tmp_path/'run')
    wait_for(lambda: (out/'history.csv').exists() and len(history(out)) == 3, process)
    kill(process)
    assert not (out/'metrics.json').exists()
    lines = (out/'history.csv').read_text('utf-8').splitlines(True)
    (out/'history.csv').write_text(''.join(lines[:-1]))
    assert resume(out) == history(whole[0])

def resume_here(out, monkeypatch, capfd):
    "Exit status, stdout and stderr of `--resume`, in this process."
    from cifar_oc.cli import train_command
    monkeypatch.setattr(sys, 'argv', ['cifar-oc-train', '--resume', str(out)])
    for o in recipes.networks, recipes.recipes: monkeypatch.setitem(o, 'small', None)  # it is forgotten afterwards
    register_small()
    status = 0
    try: train_command()
    except SystemExit as e: status = e.code
    return status, *capfd.readouterr()

def test_resume_finished(whole, tmp_path, monkeypatch, capfd):
    shutil.copytree(whole[0], out := tmp_path/'run')
    before = state(out)
    status,text,_ = resume_here(out, monkeypatch, capfd)
    assert status == 0 and 'finished' in text and state(out) == before

def test_resume_broken_checkpoint(whole, tmp_path, monkeypatch, capfd):
    (out := tmp_path/'run').mkdir()
    shutil.copy(whole[0]/'config.json', out)
    (out/'checkpoint.safetensors').write_bytes(b'half')
    status,_,err = resume_here(out, monkeypatch, capfd)
    assert status == 2 and 'checkpoint.safetensors' in err and len(err.splitlines()) == 1
    assert {p.name for p in out.iterdir()} == {'config.json', 'checkpoint.safetensors'}

def test_killed_bench(pictures, tmp_path):
    "A bench that is killed in a run, and given again, has the results of one that was not; finished runs are not touched."
    def bench(out): return start('--recipes', 'chikka-era-s10,best', '--seeds', '3', '--source', pictures, '--epochs', '2', '--bs', '8', '--runs', out/'runs', '--out', out/'found.json', name='bench', env=env())
    def accuracies(out): return [(o['recipe'], o['seed'], o['accuracy'], o['curve']) for o in json.loads((out/'found.json').read_text('utf-8'))['runs']]
    whole,cut = tmp_path/'whole',tmp_path/'cut'
    status,out,err = finish(bench(whole))
    assert status == 0, err
    assert 'best - chikka-era-s10' in out and (whole/'found.png').exists()
    process = bench(cut)
    wait_for((cut/'runs'/'best-seed3'/'checkpoint.safetensors').exists, process)
    kill(process)
    assert len(accuracies(cut)) == 1
    before = state(cut/'runs'/'chikka-era-s10-seed3')
    status,out,err = finish(bench(cut))
    assert status == 0, err
    assert accuracies(cut) == accuracies(whole) and state(cut/'runs'/'chikka-era-s10-seed3') == before
    assert {p.name for p in cut.iterdir()} == {'runs', 'found.json', 'found.png'}
