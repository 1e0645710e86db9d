"Many runs at once: processes that are killed, a real Dask cluster, folders that are not shared, runs that fail, and Ctrl-C."
import json, os, shutil, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
import psutil, pytest, torch
import many_child
from cifar_oc import jobs
from cifar_oc.bench import bench
from cifar_oc.recipes import networks, recipes
from cifar_oc.runs import Run
from conftest import finish, popen
from forked import Forked, forks, server

code = """import warnings
with warnings.catch_warnings(action='ignore'): from many_child import bench_command
import sys; bench_command(*sys.argv[1:])"""  # the command leaves fastai's own warnings out, but here fastai is imported before it
two = ['chikka-era-s10', 'best']
given = dict(seeds=(3, 4), epochs=3, bs=8, precision='fp32')
n_steps = len(two)*len(given['seeds'])*given['epochs']*5

@pytest.fixture(autouse=True)
def small(monkeypatch):
    "Small networks and one thread, here and in what is started from here."
    before = dict(networks),dict(recipes),torch.get_num_threads()
    many_child.register()
    torch.set_num_threads(1)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    yield
    for o,old in zip((networks, recipes), before):
        o.clear()
        o.update(old)
    torch.set_num_threads(before[2])

def train(pictures, out, recipes=two, **kwargs):
    return bench(recipes, source=pictures, runs=out/'runs', out=out/'found.json', **given | kwargs)

def start(pictures, out, *args, recipes=two, seeds=(3, 4), **env):
    "A process of `cifar-oc-bench`, in a group of its own."
    given = ['--recipes', ','.join(recipes), '--seeds', ','.join(map(str, seeds)), '--epochs', '3', '--bs', '8',
        '--precision', 'fp32', '--source', pictures, '--runs', out/'runs', '--out', out/'found.json', *args]
    env = os.environ | env | dict(PYTHONPATH=os.pathsep.join(sys.path), OMP_NUM_THREADS='1')
    if forks: return Forked(many_child.bench_command, *map(str, given), env=env)
    return popen(code, given, env=env)

def accuracies(out):
    "What the JSON says of the runs, in its order, but the seconds."
    return [{k: v for k,v in o.items() if k != 'seconds'} for o in json.loads((out/'found.json').read_text('utf-8'))['runs']]

def table(out): return [l.split()[:8] for l in out[out.index('accuracy after'):].splitlines()]

@pytest.fixture(scope='module')
def serial(pictures, tmp_path_factory):
    "What one process found, and printed."
    status,out,err = finish(start(pictures, folder := tmp_path_factory.mktemp('serial')))
    assert status == 0, err
    return accuracies(folder),table(out),folder

def test_workers(serial, pictures, tmp_path):
    "Two at a time, one of which is killed in mid-run, find what one process does; the killed run resumes from its checkpoint."
    (counted := tmp_path/'steps').mkdir()
    status,out,err = finish(start(pictures, tmp_path, '--workers', '2', MANY_STEPS=str(counted)))
    assert (status, err) == (0, '')
    assert (counted/'killed').exists() and n_steps < many_child.steps(counted) < n_steps + many_child.steps_before_death
    assert (accuracies(tmp_path), table(out)) == serial[:2]
    lines = out[:out.index('\naccuracy after')].splitlines()
    assert len(lines) == 4 and lines[-1].startswith('4 of 4: ') and all(': accuracy ' in l for l in lines)
    assert {p.name for p in (tmp_path/'runs').iterdir()} == {f'{r}-seed{s}' for r in two for s in (3, 4)}

def test_failed(serial, pictures, tmp_path, monkeypatch, capfd):
    "A run that fails is named at the end, and does not lose the others; what is missing is tried when the command is given again."
    from cifar_oc.cli import bench_command
    args = '--recipes broken,best --seeds 3 --epochs 3 --bs 8 --precision fp32 --workers 1'.split()
    monkeypatch.setattr(sys, 'argv', ['cifar-oc-bench', *args, '--source', str(pictures), '--runs', str(tmp_path/'runs'), '--out', str(tmp_path/'found.json')])
    with pytest.raises(SystemExit) as e: bench_command()
    out,err = capfd.readouterr()
    assert (e.value.code, err.splitlines()) == (1, [
        'cifar-oc-bench: warning: broken, seed 3 failed: RuntimeError: this network is broken',
        'cifar-oc-bench: failed runs: 1; give the command again to try only these'])
    assert '1 of 2: broken, seed 3 failed' in out and 'accuracy after' in out
    best = next(o for o in serial[0] if (o['recipe'], o['seed']) == ('best', 3))
    assert accuracies(tmp_path) == [best] and [p.name for p in (tmp_path/'runs').iterdir()] == ['best-seed3']
    networks['broken'] = many_child.Small
    with ThreadPoolExecutor(1) as executor: train(pictures, tmp_path, ['broken', 'best'], seeds=[3], executor=executor)
    assert accuracies(tmp_path) == [best | dict(recipe='broken'), best]

def test_all_failed(pictures, tmp_path):
    with pytest.warns(UserWarning, match='broken, seed 4 failed') as said, pytest.raises(RuntimeError, match='no run finished: broken, seed 3 failed'):
        train(pictures, tmp_path, ['broken'])
    assert len(said) == 2 and not list(tmp_path.rglob('*.json'))

@pytest.mark.parametrize('by', [signal.SIGINT, signal.SIGKILL], ids=['Ctrl-C', 'killed'])
def test_interrupted(by, pictures, tmp_path):
    "No process is left, neither after Ctrl-C, which all of them get, nor where only the first is killed."
    process = start(pictures, tmp_path, '--workers', '2', '--epochs', '999', seeds=[3])
    try:
        checkpoint = tmp_path/'runs'/'best-seed3'/'checkpoint.safetensors'
        while not checkpoint.exists(): assert process.poll() is None and not time.sleep(.05)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        if by == signal.SIGINT: os.killpg(process.pid, by)
        else: os.kill(process.pid, by)
        out,err = process.communicate(timeout=60)
        _,alive = psutil.wait_procs(children, timeout=20)
        assert not alive
    finally:
        with suppress(ProcessLookupError): os.killpg(process.pid, signal.SIGKILL)
    if by == signal.SIGINT: assert process.returncode == 130 and len(err.strip().splitlines()) == 1 and 'by giving it again' in err, err

@pytest.fixture
def cluster(tmp_path):
    "Two worker processes whose runs count their steps."
    from dask import config
    from distributed import LocalCluster
    (counted := tmp_path/'steps').mkdir()
    counts = dict(MANY_STEPS=str(counted), MANY_DASK='1')
    if forks: server()
    with config.set({'distributed.worker.multiprocessing-method': 'forkserver' if forks else 'spawn'}), LocalCluster(n_workers=2,
        threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None, env=counts) as cluster: yield cluster

def test_dask(serial, cluster, pictures, tmp_path):
    "A worker that is killed in mid-run loses nothing: its run resumes on another. Given again to the command, runs are read, and one more is trained."
    counted = tmp_path/'steps'
    with cluster.get_client() as client:
        executor = client.get_executor()
        executor._max_workers = 2  # one thread a run, as here: another number rounds otherwise
        train(pictures, tmp_path, executor=executor)
    assert accuracies(tmp_path) == serial[0]
    before = many_child.steps(counted)
    assert (counted/'killed').exists() and n_steps < before < n_steps + many_child.steps_before_death
    status,out,err = finish(start(pictures, tmp_path, '--dask', cluster.scheduler_address, recipes=['best'], seeds=(3, 4, 5)))
    assert (status, err) == (0, '') and out.startswith(f'2 workers at {cluster.scheduler_address}, for 2 runs at once\n')
    assert accuracies(tmp_path)[:2] == serial[0][1::2] and many_child.steps(counted) - before == n_steps//4

class Elsewhere(ThreadPoolExecutor):
    "An executor whose workers do not see the folder of the runs."
    def submit(self, f, job): return super().submit(f, replace(job, mark=Path('nowhere'), folder=Path('/nowhere')/job.folder.name))

def interrupted(serial, tmp_path):
    "The serial runs, one of which has not come to its end."
    shutil.copytree(serial[2]/'runs', tmp_path/'runs')
    run = Run(tmp_path/'runs'/'best-seed3')
    for name in 'metrics.json', 'model.safetensors': (run.path/name).unlink()
    return run

def test_not_shared(serial, pictures, tmp_path):
    "What was trained on a machine that does not share the folder is brought back, also over an interrupted run."
    run = interrupted(serial, tmp_path)
    (run.path/'checkpoint.safetensors').write_bytes(b'of an earlier attempt')
    with Elsewhere(2) as executor: found = train(pictures, tmp_path, executor=executor, seeds=(3,))
    assert accuracies(tmp_path) == serial[0][:2] and run.finished and run.model() and len(found) == 2
    assert {p.name for p in run.path.iterdir()} == {'config.json', 'metrics.json', 'history.csv', 'model.safetensors'}
    assert len(train(pictures, tmp_path)) == 4  # it is a run like any other

def test_busy(serial, pictures, tmp_path, monkeypatch, capsys):
    "A run that a worker still trains, though it was given up, is waited for."
    run,held,free = interrupted(serial, tmp_path),Event(),Event()
    def hold():
        with run.locked():
            held.set()
            free.wait(60)
    (holder := Thread(target=hold)).start()
    held.wait(60)
    def let_go(seconds):
        free.set()
        holder.join()
    monkeypatch.setattr(jobs, 'sleep', let_go)
    with ThreadPoolExecutor(2) as executor: train(pictures, tmp_path, executor=executor)
    assert accuracies(tmp_path) == serial[0] and 'is being trained by another process; it is asked for again' in capsys.readouterr().out

def test_ended_executor(pictures, tmp_path):
    with ThreadPoolExecutor(1) as executor: pass
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match='cannot schedule new futures after shutdown'): train(pictures, tmp_path, executor=executor)
    assert not list(tmp_path.iterdir())

def test_not_importable(pictures, tmp_path):
    "What only this process knows is refused before any work."
    networks['mine'] = lambda *args: None
    own = {'own': replace(recipes['best'], network='mine')}
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match=r"networks\['mine'\] is defined in this notebook"):
        train(pictures, tmp_path, ['best', own['own']], executor=executor)
    assert not list(tmp_path.iterdir())

@pytest.mark.parametrize('args,says', [
    ('--workers 0', '--workers is 0; give 1 or more'), ('--workers -1', 'give 1 or more'), ('--workers two', '--workers'),
    ('--workers 2 --dask tcp://127.0.0.1:1', 'not allowed with'), ('--dask tcp://127.0.0.1:1', 'no Dask scheduler answers at tcp://127.0.0.1:1'),
    ('--dask no.such.host.invalid:8786', 'no Dask scheduler answers'), ('--dask where?', 'no Dask scheduler answers'),
    ('--workers 2 --source nowhere', 'nowhere does not exist'), ('--workers 2 --recipes corse', "no recipe is called 'corse'")])
def test_bad_input(args, says, tmp_path, monkeypatch, capfd):
    "One line, within seconds, and nothing is left."
    from cifar_oc.cli import bench_command
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['cifar-oc-bench', *args.split()])
    began = time.monotonic()
    with pytest.raises(SystemExit) as e: bench_command()
    err = capfd.readouterr().err
    assert e.value.code == 2 and len(err.splitlines()) == 1 and says in err, err
    assert time.monotonic() - began < 30 and not list(tmp_path.iterdir())

def test_missing_extra(monkeypatch, capfd):
    from cifar_oc.cli import bench_command
    monkeypatch.setitem(sys.modules, 'distributed', None)
    monkeypatch.setattr(sys, 'argv', 'cifar-oc-bench --dask tcp://127.0.0.1:8786'.split())
    with pytest.raises(SystemExit) as e: bench_command()
    err = capfd.readouterr().err
    assert e.value.code == 2 and len(err.splitlines()) == 1 and "pip install 'cifar_oc[dask]'" in err
