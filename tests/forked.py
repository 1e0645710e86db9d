"Commands in processes that are forked from one that has imported everything: the imports take longer than most of what they do."
import multiprocessing, os, runpy, shutil, subprocess, sys, tempfile
from functools import cache, partial
from pathlib import Path

os.environ.update(OMP_NUM_THREADS='1', NO_ALBUMENTATIONS_UPDATE='1', MPLBACKEND='Agg')  # before torch is imported
import matplotlib.pyplot, torch
import cifar_oc.all, cifar_oc.cli
from cifar_oc import recipes
from cifar_oc.model import CustomResNet

forks = 'forkserver' in multiprocessing.get_all_start_methods() and sys.platform != 'darwin'  # safe after an import of torch on Linux only

@cache
def server():
    "The context whose processes are forked from one that has imported this module"
    before = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join(sys.path)
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['forked'])
    context.Process(target=int).start()
    os.environ['PYTHONPATH'] = before or ''
    return context

def speak(out, err):
    "Let what this process prints go to the file descriptors `out` and `err`"
    for fd,to in (1,out),(2,err): os.dup2(to, fd)
    sys.stdout,sys.stderr = (open(fd, 'w', encoding='utf-8', errors='replace', closefd=False) for fd in (1,2))

def run(said, env, cwd, target, args):
    "What a forked process does"
    speak(*(os.open(said/o, os.O_WRONLY | os.O_CREAT) for o in ('out', 'err')))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    torch.set_num_threads(1)
    target(*args)

def register_small():
    "A narrow network and a short recipe, both called `small`"
    recipes.networks['small'] = partial(CustomResNet, width=4)
    recipes.recipes['small'] = recipes.Recipe(network='small', epochs=3, bs=8)

def command(name, *args):
    "The command `cifar-oc-<name>` with `args`, which knows the recipe `small` too"
    register_small()
    sys.argv = [f'cifar-oc-{name}', *args]
    getattr(cifar_oc.cli, f'{name}_command')()

def script(path, *args):
    "The script at `path` with `args`, as Python runs it"
    sys.argv = [str(path), *args]
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name='__main__')

class Forked:
    "`target(*args)` in a process with `env` and `cwd`; it is used as a `subprocess.Popen` with pipes is"
    def __init__(self, target, *args, env=None, cwd=None):
        self.said = Path(tempfile.mkdtemp())
        self.process = server().Process(target=run, args=(self.said, dict(env or os.environ), str(cwd or Path.cwd()), target, args))
        self.process.start()
    @property
    def pid(self): return self.process.pid
    @property
    def returncode(self): return self.process.exitcode
    def poll(self): return self.returncode
    def kill(self): self.process.kill()
    def communicate(self, timeout=None):
        self.process.join(timeout)
        if self.poll() is None: raise subprocess.TimeoutExpired(self.process.name, timeout)
        said = tuple((self.said/o).read_text('utf-8') if (self.said/o).exists() else '' for o in ('out', 'err'))
        shutil.rmtree(self.said)
        return said
