"What test_faults.py forks: a command of cifar_oc with few pictures and a small network, and a fault in it."
import os, resource, signal, sys, threading, time
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import torch
from cifar_oc import data
from forked import command as call, speak

# each phase of a run, and the functions that are it; 'start' is what comes before them and between, 'finish' what comes after training
functions = dict(download=['fetch_once'], decode=['read_source', 'save_arrays'], find_lrs=['Learner.find_lrs'], training=['Learner.fit_course'],
    validation=['Learner._do_epoch_validate'], checkpoint=['save_state'], report=['Learner.report', 'Run.report'])
phases = ['start', *functions, 'finish']
changes = {f'os.{o}' for o in ('rename', 'remove', 'mkdir', 'rmdir', 'chmod', 'truncate', 'utime', 'link', 'symlink')}

@dataclass
class Fault:
    "What happens in a run's `phase`, when it begins for the `entry`th time, or at its `change`th change to a file."
    phase: str = ''
    entry: int = 1
    change: int = None     # send `signal` there
    seconds: float = None  # the parent sends `signal` so long after the phase has begun
    signal: int = signal.SIGKILL
    size: int = None       # no file may grow beyond it: the disk is full
    torn: bool = False     # the kernel kills a process that writes beyond `size`, after the last byte that fits
    folder: str = None     # may not be written to any more
    fork: bool = False     # a grandchild that sleeps, as a worker of a `DataLoader` may

    def begin(self, phase, entry):
        if (phase, entry) != (self.phase, self.entry): return
        if self.size is not None:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))
        if self.folder: os.chmod(self.folder, 0o555)
        if self.fork and not os.fork(): time.sleep(30); os._exit(0)

    def at(self, phase, change):
        if (phase, change) == (self.phase, self.change): os.kill(os.getpid(), self.signal)

class Phases:
    "Says by `tell` which phase begins, and lets `fault` happen; counts the changes to files below `root` by phase."
    def __init__(self, root, tell, fault):
        self.root,self.tell,self.fault = str(root),tell,fault
        self.main,self.stack,self.entries,self.changes = threading.get_ident(),['start'],{},{}
        self.thread = []  # the phase of the thread that writes checkpoints
        for phase,names in functions.items():
            for name in names: self.wrap(phase, name)
        sys.addaudithook(self.audit)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if fault.torn else signal.SIG_IGN)  # here, for a thread may not
        self.begin()

    def now(self):
        "The stack of the thread that asks."
        return self.stack if threading.get_ident() == self.main else self.thread

    def begin(self):
        phase = self.now()[-1]
        self.entries[phase] = n = self.entries.get(phase, 0) + 1
        self.tell((phase, n, time.monotonic()))
        self.fault.begin(phase, n)

    def audit(self, event, args):
        "Called by Python before every change to a file."
        if event == 'open':
            if not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT): return
        elif event not in changes: return
        if not any(isinstance(o, (str, Path)) and str(o).startswith(self.root) for o in args): return
        phase = (self.now() or ['training'])[-1]
        self.changes[phase] = n = self.changes.get(phase, 0) + 1
        self.fault.at(phase, n)

    def wrap(self, phase, name):
        "Put a function that tells its phase where cifar_oc has the function `name`."
        owner,_,name = name.rpartition('.')
        for module in [m for k,m in list(sys.modules.items()) if k.startswith('cifar_oc.')]:
            place = getattr(module, owner, None) if owner else module
            f = getattr(place, name, None)
            if f and not hasattr(f, 'phase'): setattr(place, name, self.told(phase, f))

    def told(self, phase, f):
        @wraps(f)
        def g(*args, **kwargs):
            stack = self.now()
            if phase == 'validation' and stack[-1] != 'training': return f(*args, **kwargs)
            stack.append(phase)
            self.begin()
            result = f(*args, **kwargs)
            stack.pop()
            if phase == 'training': stack[0] = 'finish'
            if stack: self.begin()
            return result
        g.phase = phase
        return g

def without_report():
    for module in [m for k,m in sys.modules.items() if k.startswith('cifar_oc.')]:
        for owner in 'Learner', 'Run':
            if hasattr(o := getattr(module, owner, None), 'report'): o.report = lambda *args, **kwargs: None

def bound_by_permissions():
    "Root, too, may write only where the permissions let it: give up CAP_DAC_OVERRIDE."
    import ctypes
    libc,head,sets = ctypes.CDLL(None, use_errno=True),(ctypes.c_uint32*2)(0x20080522, 0),(ctypes.c_uint32*6)()
    if libc.capget(head, sets): raise OSError(ctypes.get_errno(), 'capget')
    for i in 0,1,2: sets[i] &= ~0b110  # of effective, permitted, inheritable: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    if libc.capset(head, sets): raise OSError(ctypes.get_errno(), 'capset')

def run(command, argv, root, sources, fault, report, out, err, tell):
    "The child: `command` with `argv`, its caches below `root`, the local `sources` in the place of CIFAR-10's own."
    speak(out.fileno(), err.fileno())
    os.environ.update(XDG_CACHE_HOME=f'{root}/cache')
    os.chdir(root)
    torch.set_num_threads(1)
    data.SOURCES,data.download_cifar10.__defaults__ = sources,(sources,None)
    if not report: without_report()
    if os.getuid() == 0: bound_by_permissions()
    told = Phases(root, tell.send, fault)
    call(command, *map(str, argv))
    tell.send(('end', told.changes, time.monotonic()))
