"Kills, Ctrl-C, full disks, closed folders: nothing is half-written, one line says why, and the run resumes to the same history."
import csv, errno, hashlib, json, math, os, random, re, shutil, signal, subprocess, sys, tarfile, threading, time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import wait
from pathlib import Path
import numpy as np, pytest
from safetensors import safe_open
from conftest import figures, finish, notes, write_pictures
from forked import forks, server

pytestmark = pytest.mark.skipif(not forks, reason='a fork of a process that has imported torch is safe on Linux only')
if forks: from fault_child import Fault, phases, run as child

@pytest.fixture(scope='module')
def forkserver():
    "The context that forks a child for each command."
    return server()

@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    "A local server of a small archive of pictures, as `SOURCES` has it; it can go on where a download stopped."
    folder = tmp_path_factory.mktemp('server')
    write_pictures(folder/'pictures')
    with tarfile.open(folder/'cifar10.tgz', 'w:gz') as tar: tar.add(folder/'pictures', 'cifar10')
    body = (folder/'cifar10.tgz').read_bytes()
    class Server(BaseHTTPRequestHandler):
        def log_message(self, *args): pass
        def do_GET(self):
            start = int(self.headers['Range'].removeprefix('bytes=').rstrip('-'))
            self.send_response(206 if start else 200)
            self.send_header('Content-Range', f'bytes {start}-{len(body)-1}/{len(body)}')
            self.send_header('Content-Length', str(len(body) - start))
            self.end_headers()
            for i in range(start, len(body), 2**13):
                try: self.wfile.write(body[i:i+2**13])
                except OSError: return  # the one that asked is dead
                time.sleep(.005)
    server = ThreadingHTTPServer(('127.0.0.1', 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield ((f'http://127.0.0.1:{server.server_port}/cifar10.tgz', len(body), hashlib.md5(body).hexdigest()),)
    server.shutdown()

@dataclass
class Ended:
    "How a command ended."
    status: int
    out: str
    err: str
    marks: list  # (phase, how often it has begun, time), and at last ('end', changes by phase, time)

    @property
    def phase(self): return self.marks[-1][0]

def read(pipe):
    "What is in `pipe`, which its writer has left."
    os.set_blocking(pipe.fileno(), False)
    try: return os.read(pipe.fileno(), 2**16).decode()
    except BlockingIOError: return ''

class Place:
    "A folder with a cache and a run folder of its own, where commands meet faults."
    report = False # whether runs write their report, which takes longer than all else
    def __init__(self, root, forkserver, sources):
        self.root,self.forkserver,self.sources = root,forkserver,sources
        self.run = root/'runs'/'run'
        root.mkdir(exist_ok=True)

    def start(self, command, *argv, fault=None):
        pipes = [self.forkserver.Pipe(False) for _ in range(3)]
        args = command, argv, self.root, self.sources, fault or Fault(), self.report, *(o[1] for o in pipes)
        process = self.forkserver.Process(target=child, args=args)
        process.start()
        for o in pipes: o[1].close()
        return process,*(o[0] for o in pipes)

    def finish(self, process, out, err, told, fault=None):
        marks = []
        while told in wait([told, process.sentinel], 120):
            try: marks.append(told.recv())
            except EOFError: break
            if fault and fault.seconds is not None and marks[-1][:2] == (fault.phase, fault.entry):
                time.sleep(fault.seconds)
                if process.exitcode is None: os.kill(process.pid, fault.signal)
        process.join(60)
        if process.exitcode is None:
            process.kill()
            pytest.fail(f'{marks[-1]}: still running')
        return Ended(process.exitcode, read(out), read(err), marks)

    def command(self, *argv, fault=None): return self.finish(*self.start(*argv, fault=fault), fault)

    def begin(self): return 'train', *'--recipe small --precision fp32 --seed 7 --out'.split(), self.run

    def train(self, fault=None):
        "The run is begun, or resumed if it was begun."
        return self.command(*(['train', '--resume', self.run] if self.run.exists() else self.begin()), fault=fault)

    def history(self):
        with (self.run/'history.csv').open() as f: return [{k: v for k,v in o.items() if k != 'seconds'} for o in csv.DictReader(f)]

    def result(self):
        "All that must be the same whether the run was disturbed or not."
        metrics = json.loads((self.run/'metrics.json').read_text('utf-8'))
        config = json.loads((self.run/'config.json').read_text('utf-8'))
        return self.history(), {k: v for k,v in metrics.items() if k != 'seconds'}, config

    def files(self):
        "Names of all files and folders, but for those in the cache that say when another was checked, and locks, which nobody holds."
        names = {str(o.relative_to(self.root)) for o in self.root.rglob('*')}
        return {o for o in names if not re.fullmatch(r'cache/.*(/[0-9a-f]{32}/[0-9a-f]{32}|\.checked|\.lock)|runs/run/\.lock', o)}

    def check_whole(self):
        "Every file that has its last name is whole."
        for o in self.root.rglob('*'):
            if o.is_dir() or re.search(r'\.new|/\.run\.|/cifar_oc-decoding-', str(o)): continue  # not yet renamed
            if o.suffix == '.json': json.loads(o.read_text('utf-8'))
            if o.suffix == '.csv': assert o.read_text('utf-8').endswith('\n')
            if o.suffix == '.safetensors': safe_open(o, 'pt').keys()
            if o.suffix == '.npy': np.load(o)
            if o.suffix == '.png': assert o.read_bytes().endswith(b'IEND\xaeB`\x82')
            if o.suffix == '.html': assert o.read_text('utf-8').rstrip().endswith('</html>')
            if o.suffix == '.tgz': assert hashlib.md5(o.read_bytes()).hexdigest() == self.sources[0][2]

@pytest.fixture
def place(tmp_path, forkserver, sources):
    yield Place(tmp_path/'place', forkserver, sources)
    shutil.rmtree(tmp_path)

@pytest.fixture(scope='module')
def whole(tmp_path_factory, forkserver, sources):
    "Runs that nobody disturbed, with a report and without; the second tells its phases as they take when everything is warm."
    wholes = {report: Place(tmp_path_factory.mktemp('whole'), forkserver, sources) for report in (False, True)}
    for report,o in wholes.items():
        o.report = report
        o.ended = o.train()
        assert o.ended.status == 0, o.ended.err
    assert wholes[0].result() == wholes[1].result()
    assert {m[0] for m in wholes[1].ended.marks} == {*phases, 'end'}
    return wholes

def draw(whole, phase, rng, kinds='moment change torn', signal=signal.SIGKILL):
    "A fault in `phase`: `signal` at a random moment or a random change to a file, or a file that cannot become whole."
    marks = whole.ended.marks
    changes = marks[-1][1].get(phase, 0)
    kind = rng.choice([o for o in kinds.split() if o == 'moment' or changes])
    if kind == 'change': return Fault(phase, change=rng.randint(1, changes), signal=signal)
    if kind in ('torn', 'full'): return Fault(phase, size=int(math.exp(rng.uniform(0, math.log(2**17)))), torn=kind == 'torn')
    entry,seconds = rng.choice([(a[1], b[2] - a[2]) for a,b in zip(marks, marks[1:]) if a[0] == phase])
    return Fault(phase, entry, seconds=rng.uniform(0, seconds), signal=signal)

def meet(place, whole, phase, rng, statuses, *args):
    "A run that meets a fault of `draw`, another if none happened, as where no file was as large; how it ended."
    place.report = phase == 'report'
    for _ in range(20):
        fault = draw(whole[place.report], phase, rng, *args)
        ended = place.train(fault)
        if ended.status in statuses: return ended
        assert ended.status == 0, f'{fault}: {ended.status}, {ended.err}'
        shutil.rmtree(place.root)
        place.root.mkdir()
    pytest.fail(f'no such fault: {fault}')

def check_resumed(place, whole):
    "The run is begun again, and then is as if nothing had happened."
    ended,whole = place.train(),whole[place.report]
    assert ended.status == 0, ended.err
    place.check_whole()
    assert place.result() == whole.result()
    assert place.files() == whole.files()

@contextmanager
def counted(fault, phase):
    "A line of the summary has one more that was tried, and that survived if nothing goes wrong inside."
    figures[fault, phase, 'tried'] += 1
    yield
    figures[fault, phase, 'survived'] += 1

def check_one_line(ended, status, *words):
    assert ended.status == status, ended.err
    lines = ended.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith('cifar-oc-train: '), ended.err
    for o in words: assert str(o) in ended.err

acts = [o for o in phases if o != 'validation'] # which writes nothing, and takes no time

@pytest.mark.parametrize('seed', [pytest.param(i, marks=pytest.mark.slow if i >= 24 else ()) for i in range(100)])
def test_kill(seed, place, whole):
    phase = acts[seed % len(acts)]
    ended = meet(place, whole, phase, random.Random(seed), (-signal.SIGKILL, -signal.SIGXFSZ))
    with counted('kill', ended.phase):
        place.check_whole()
        check_resumed(place, whole)

@pytest.mark.parametrize('phase', phases)
def test_interrupt(phase, place, whole):
    kind = 'moment' if phase in ('find_lrs', 'training', 'validation') else 'change'  # those write nothing
    ended = meet(place, whole, phase, random.Random(phase), (130,), kind, signal.SIGINT)
    with counted('Ctrl-C', ended.phase):
        check_one_line(ended, 130, 'interrupted')
        place.check_whole()
        check_resumed(place, whole)

interrupting = """
import itertools, os, signal, sys
from cifar_oc.cli import train_command
count = itertools.count()
def hook(event, args):
    if event == 'import' and next(count) == {nth}: os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(hook)
train_command()
"""

@pytest.mark.parametrize('nth', [100, 1000, 3000])
def test_interrupt_import(nth):
    "While the `nth` module is imported, of some 4,700; the process is a fresh one, for the others have imported all."
    cmd = [sys.executable, '-c', interrupting.format(nth=nth), '--resume', 'none']
    status,out,err = finish(subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    with counted('Ctrl-C', 'import'): check_one_line(Ended(status, out, err, []), 130, 'interrupted')

writing = [o for o in acts if o not in ('find_lrs', 'training')]  # the phases that write files, by themselves

@pytest.mark.parametrize('phase', writing)
def test_full_disk(phase, place, whole):
    "No file can grow beyond a size."
    ended = meet(place, whole, phase, random.Random(phase), (2,), 'full')
    with counted('full disk', ended.phase):
        check_one_line(ended, 2, place.root, os.strerror(errno.EFBIG))
        place.check_whole()
        check_resumed(place, whole)

@pytest.fixture
def tmpfs(place):
    "`place` on a file system of 4 MB."
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', place.root], capture_output=True).returncode:
        notes.append('full disk: no tmpfs can be mounted here, so only files had a greatest size')
        return
    yield place
    subprocess.run(['umount', '--lazy', place.root], check=True)

@pytest.mark.parametrize('share', [.02, .1, .3, .5, .7, .9])
def test_small_disk(share, tmpfs, whole):
    "There is room for a share of what a run needs."
    if not tmpfs: return
    needs = sum(o.stat().st_size for o in whole[0].root.rglob('*') if o.is_file())
    with (tmpfs.root/'ballast').open('wb') as f:
        while (room := os.statvfs(tmpfs.root)).f_bavail*room.f_bsize > share*needs: f.write(bytes(room.f_bsize)), f.flush()
    ended = tmpfs.train()
    with counted('small disk', ended.phase):
        check_one_line(ended, 2, tmpfs.root, os.strerror(errno.ENOSPC))
        (tmpfs.root/'ballast').unlink()
        tmpfs.check_whole()
        check_resumed(tmpfs, whole)

closed = [('start', 'runs'), ('start', 'cache'), ('decode', 'cache/cifar_oc')]
closed += [(o, 'runs/run') for o in ('find_lrs', 'checkpoint', 'finish', 'report')]

@pytest.mark.parametrize('phase,folder', closed)
def test_read_only(phase, folder, place, whole):
    "A folder is closed while a run is in a phase, or was before it, by its permissions."
    how = 'root, which gave up CAP_DAC_OVERRIDE' if os.getuid() == 0 else 'a user'
    if (note := f'read-only folder: permissions, for {how}') not in notes: notes.append(note)
    place.report,folder = phase == 'report',place.root/folder
    if phase == 'start': folder.mkdir()
    ended = place.train(Fault(phase, 2 if phase == 'checkpoint' else 1, folder=folder))
    with counted('read-only folder', ended.phase):
        check_one_line(ended, 2, folder, os.strerror(errno.EACCES))
        folder.chmod(0o755)
        place.check_whole()
        check_resumed(place, whole)

def content(folder): return {o: o.read_bytes() for o in folder.rglob('*') if o.is_file()}

def test_lock(place, whole):
    "A run that another process trains is refused; once that is killed it resumes, though a child of that lives on."
    process,out,err,told = place.start(*place.begin(), fault=Fault('training', fork=True))
    while told.recv()[:2] != ('checkpoint', 2): pass
    os.kill(process.pid, signal.SIGSTOP)
    def states(): return {o.read_text().rpartition(') ')[2][0] for o in Path(f'/proc/{process.pid}/task').glob('*/stat')}
    while states() != {'T'}: time.sleep(.01)  # each thread stops by itself
    before = content(place.run)
    with counted('two processes', 'training'):
        check_one_line(place.train(), 2, place.run, 'another process')
        check_one_line(place.command(*place.begin()), 2, place.run, 'exists')
        assert content(place.run) == before
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with counted('two processes', 'killed'): check_resumed(place, whole)

def test_two_at_once(place, whole):
    "Of two processes that resume one run at the same time, one does."
    assert place.train(Fault('find_lrs', seconds=0)).status == -signal.SIGKILL
    args = 'train', '--resume', place.run
    two = [place.start(*args) for _ in range(2)]
    with counted('two processes', 'start'):
        good,refused = sorted((place.finish(*o) for o in two), key=lambda o: o.status)
        assert good.status == 0, good.err
        check_one_line(refused, 2, place.run, 'another process')
        check_resumed(place, whole)
