"`cifar-oc-bench` with small networks, which the processes of test_many.py share: one can be told to die, and one is broken."
import os, signal, sys, time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from cifar_oc import reproductions
from cifar_oc.model import CustomResNet
from cifar_oc.recipes import networks, recipes

steps_before_death = 12  # of 5 an epoch: two checkpoints are written, and a third epoch has begun

class Small(CustomResNet):
    "Writes down its training steps in the folder `MANY_STEPS`; the first that has taken 12 kills its process, or its Dask worker, once"
    def __init__(self, n_out=10, width=64):
        super().__init__(n_out, width=8)
        self.steps = 0
    def forward(self, x):
        if self.training and (folder := os.environ.get('MANY_STEPS')): self.count(Path(folder))
        return super().forward(x)
    def count(self, folder):
        with open(folder/str(os.getpid()), 'a') as f: f.write('.')
        self.steps += 1
        if self.steps < steps_before_death: return
        with suppress(FileExistsError):
            (folder/'killed').touch(exist_ok=False)
            os.kill(os.getppid() if 'MANY_DASK' in os.environ else os.getpid(), signal.SIGKILL)
            time.sleep(60)  # without its worker this process ends; until then it takes no more steps

def broken(n_out=10, width=64): raise RuntimeError('this network\nis broken')

def register():
    "Small networks in place of all, and the recipe `broken`"
    for k in networks: networks[k] = Small
    networks['broken'] = broken
    recipes['broken'] = replace(recipes['best'], network='broken')

def steps(folder): return sum(len(f.read_text()) for f in folder.iterdir() if f.name.isdigit())

def bench_command(*args):
    "What the processes of the tests call, in a group of its own"
    from cifar_oc.cli import bench_command
    os.setsid()
    register()
    sys.argv = ['cifar-oc-bench', *args]
    bench_command()
