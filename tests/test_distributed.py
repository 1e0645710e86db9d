"One run by several processes: the same training as by one, one folder, one voice."
import json, os, socket, subprocess, sys
from pathlib import Path
import pandas as pd, pytest, torch
from safetensors.torch import load_file
import several_child
from conftest import finish
from forked import Forked, forks

tests = Path(__file__).parent
plain = dict(network='no norm', flip_p=0, pad=0, hole_p=0)  # nothing is drawn, nothing is normalised by a part
usual = dict(epochs=3, bs=16, lr_min=1e-4, lr_max=1e-3)

def launch(script, args, n=2, **env):
    "Start `script` in `n` processes, by torchrun if there are several; on cards, if there is one for each"
    if torch.cuda.device_count() < n: env['CUDA_VISIBLE_DEVICES'] = ''
    several = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(n)] if n > 1 else [sys.executable]
    env = os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore', 'CIFAR_OC_DATA': ''} | env
    return subprocess.run([*several, str(script), *args], capture_output=True, text=True, timeout=300, env=env)

def train(out, n=2, env={}, **given):
    "What the narrow run that `given` describes printed; it must end well unless `env` has it killed"
    done = launch(tests/'several_child.py', [json.dumps(dict(out=str(out), **given))], n, **env)
    assert (done.returncode == 0) == (not env), done.stderr
    return done

def fork(out, n=2, killed=None, **given):
    "Exit status, stdout and stderr of each of `n` forked processes of a run, as `train` has them started by torchrun; `killed` is one of them"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        env = os.environ | dict(CIFAR_OC_DATA='', CUDA_VISIBLE_DEVICES='', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(s.getsockname()[1]), WORLD_SIZE=str(n))
    if killed is not None: env['KILL'] = str(killed)
    processes = [Forked(several_child.start, dict(out=str(out), **given), env=env | dict(RANK=str(i), LOCAL_RANK=str(i))) for i in range(n)]
    ended = [finish(p) for p in processes]
    assert [o[0] != 0 for o in ended] == [killed is not None]*n, ended
    return ended

def history(out): return pd.read_csv(out/'history.csv').drop(columns='seconds')

def same_weights(out, n=2):
    "True if all processes ended with the same weights, to the bit, and the run kept them"
    first,*others = [load_file(f'{out}-weights{i}.safetensors') for i in range(n)]
    kept = load_file(out/'model.safetensors')
    return all(o.keys() == first.keys() and all((o[k] == v).all() for k,v in first.items()) for o in [*others, kept])

def test_same_as_one_process(tmp_path):
    "Without batch norm and augmentation two processes train as one does; every picture counts once, the odd ones too."
    for n in 1,2: train(tmp_path/str(n), n, **usual, n_train=121, recipe_changes=plain)
    pd.testing.assert_frame_equal(history(tmp_path/'1'), history(tmp_path/'2'), atol=1e-4, rtol=1e-4)
    assert same_weights(tmp_path/'2')
    metrics = [json.loads((tmp_path/f'{n}'/'metrics.json').read_text('utf-8')) for n in (1,2)]
    assert [m['processes'] for m in metrics] == [1,2] and {m['n'] for m in metrics} == {51}

@pytest.mark.skipif(not forks, reason='a fork of a process that has imported torch is safe on Linux only')
def test_killed_and_resumed(tmp_path):
    "Whichever process is killed, the other ends with one line; the run resumes as if nothing had happened, also on other numbers of processes."
    changes = dict(recipe_changes=dict(ema=.9))
    (_,first,_),(_,second,_) = fork(tmp_path/'whole', **usual, **changes)
    assert same_weights(tmp_path/'whole') and first.count('accuracy') == 7 and 'accuracy' not in second
    assert 'processes  2, which take 8 each of the 16 pictures of a step' in first
    for killed in 0,1:
        run = tmp_path/f'killed{killed}'
        ended = fork(run, killed=killed, **usual, **changes)
        assert ended[killed][0] == -9
        assert ended[1 - killed][2].count(f'OSError: another process of {run} has ended') == 1, ended
        assert len(history(run)) == 1
    fork(tmp_path/'killed0', resumed=True)
    pd.testing.assert_frame_equal(history(tmp_path/'killed0'), history(tmp_path/'whole'), rtol=1e-5)
    assert same_weights(tmp_path/'killed0')
    fork(tmp_path/'killed1', 4, resumed=True)
    assert len(history(tmp_path/'killed1')) == 3 and same_weights(tmp_path/'killed1', 4)

def test_bad_input(tmp_path):
    "One line of one process, a status other than 0, and nothing is left."
    command = Path(sys.executable).with_name('cifar-oc-train')
    def lines(done, start): return [l for l in done.stderr.splitlines() if start in l]
    done = launch(command, ['--source', 'demo', '--bs', '63', '--out', str(tmp_path/'run')])
    assert done.returncode and lines(done, 'cifar-oc-train:') == ['cifar-oc-train: bs is 63, and 2 processes take equal parts of it, of two pictures or more; give 62 or 64']
    done = train(tmp_path/'run', env=dict(BLIND='1'), **usual)
    assert lines(done, 'cannot be seen there') == [f'[rank0]: ValueError: process 1 of 2: {tmp_path}/run cannot be seen there; out has to be a folder that all machines share']
    assert not list(tmp_path.iterdir())

def test_launched_from_a_notebook(tmp_path):
    "`train` goes into Accelerate's launchers as it is; it finds the rates once, and the first process writes the report."
    code = f"""
import sys; sys.path.insert(0, {str(tests)!r})
from functools import partial
from accelerate import debug_launcher
from several_child import main
debug_launcher(partial(main, {str(tmp_path/'run')!r}, epochs=1, bs=16, report=True), num_processes=2)
"""
    done = launch('-c', [code], 1, CUDA_VISIBLE_DEVICES='')  # debug_launcher is for processors
    assert done.returncode == 0, done.stderr
    assert same_weights(tmp_path/'run') and 'processes  2' in done.stdout
    assert done.stdout.count('looking for LRMIN') == done.stdout.count('rates      LRMIN') == 1
    assert {'lr_find.csv', 'report.html'} <= {f.name for f in (tmp_path/'run').iterdir()}
