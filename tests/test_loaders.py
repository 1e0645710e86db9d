"What a notebook cannot show of the loaders: workers whose main process ends, and the names that a star import binds."
import os, signal, subprocess, sys, textwrap, time
from pathlib import Path
import pytest

def run(code, **kwargs):
    return subprocess.Popen([sys.executable, '-W', 'ignore', '-c', textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, encoding='utf-8', **kwargs)

epoch = '''
    import time
    from cifar_oc.all import *
    def main():
        dls = cifar_dls(load_cifar10('demo'), 64, augment='albumentations', num_workers=2)
        list(dls.train)
        print(*dls.train.pool._processes, flush=True)
        return dls
'''

def gone(pids):
    for _ in range(100):
        left = [p for p in pids if Path(f'/proc/{p}').exists() and ') Z ' not in Path(f'/proc/{p}/stat').read_text()]
        if not left: return True
        time.sleep(.1)

@pytest.mark.skipif(not Path('/proc').exists(), reason='looks for processes in /proc')
@pytest.mark.parametrize('end', ['interrupted', 'killed', 'child'])
def test_workers_end(end):
    "However the main process ends, it ends, and its workers with it; also where it is itself a child"
    last = dict(child='''
        import multiprocessing
        p = multiprocessing.get_context('fork').Process(target=lambda: globals().update(dls=main()))
        p.start(); p.join()''').get(end, 'dls = main(); time.sleep(60)')
    with run(textwrap.dedent(epoch) + textwrap.dedent(last), stderr=subprocess.DEVNULL, start_new_session=True) as p:
        pids = [int(o) for o in p.stdout.readline().split()]
        assert len(pids) == 2
        if end == 'killed': p.kill()
        if end == 'interrupted': os.killpg(p.pid, signal.SIGINT)
        p.wait(20)
    assert gone(pids)

@pytest.mark.parametrize('first', [True, False])
def test_albumentations_keeps_its_name(first):
    "`import albumentations as A` works before the star import and after it"
    lines, names = ['import albumentations as A', 'from cifar_oc.all import *'], {}
    exec('\n'.join(lines if first else lines[::-1]), names)
    assert names['A'].__name__ == 'albumentations'
