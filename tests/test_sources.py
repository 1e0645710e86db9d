"Hostile sources: batches with bytes changed at random, and archives that unpack to far more than they are. Each is read right or refused in one line, in little memory."
import gzip, io, json, os, pickle, subprocess, sys, tarfile, tempfile, zipfile
from contextlib import contextmanager
from pathlib import Path
import numpy as np
import pytest
from conftest import write_pictures

def run(code, *args):
    "What `code` prints, as JSON, in a process of its own; its last line adds the most memory it took, in MB."
    head = 'import json, sys, warnings; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n'
    tail = '''
try: import resource
except ImportError: peak = 0 # Windows
else: peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)
print(json.dumps([result, peak]))'''
    fresh = 'import subprocess, sys; sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)' # or the peak counts that of pytest
    cmd = [sys.executable, '-c', fresh, '-c', head + code + tail, str(Path(__file__).parent), *map(str, args)]
    done = subprocess.run(cmd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])

def batch():
    "A small batch: two pictures."
    return dict(data=np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8), labels=[6, 9], batch_label='one', filenames=['a.png', 'b.png'])

def forms():
    "The small batch as different programs write it."
    for p in range(6): yield pickle.dumps(batch(), protocol=p)
    yield pickle.dumps(batch() | dict(labels=np.array([6, 9])), protocol=2)
    yield pickle.dumps(batch() | dict(labels=list(np.array([6, 9]))), protocol=4)
    yield pickle.dumps({k.encode(): v for k,v in batch().items()}, protocol=2)
    yield pickle.dumps({'label_names': ['cat', 'dog']}, protocol=2)

def mutated(raw, rng):
    "`raw` with a few bytes changed, cut out, doubled or added, mostly outside the long run of pixels."
    raw, outside = bytearray(raw), 500
    for _ in range(rng.integers(1, 4)):
        n = len(raw)
        at = int(rng.integers(n)) if rng.random() < .2 else int(rng.integers(min(outside, n))) if rng.random() < .6 else n - 1 - int(rng.integers(min(200, n)))
        size, byte = int(rng.integers(1, 9)), int(rng.integers(256))
        kind = rng.integers(6)
        if   kind == 0: raw[at] = byte
        elif kind == 1: raw[at] ^= 1 << int(rng.integers(8))
        elif kind == 2: del raw[at:at+size]
        elif kind == 3: raw[at:at] = raw[at:at+size]
        elif kind == 4: raw[at:at] = bytes([byte])*size
        else: raw[at:at+4] = rng.choice([b'\xff\xff\xff\x7f', b'\xff\xff\xff\xff', b'\0\0\0\x80', b'R', b'b', b'.'])
    return bytes(raw)

def truth(raw):
    "What the real pickle makes of `raw`; it is asked only about what was read."
    class Known(pickle._Unpickler): # written in Python: the one in C takes 16 GiB for a memo with a large number
        def find_class(self, module, name):
            if module.startswith(('numpy', '_codecs')): return super().find_class(module, name)
            raise pickle.UnpicklingError(name)
    return {k.decode() if isinstance(k, bytes) else k: v for k,v in Known(io.BytesIO(raw), encoding='latin1').load().items()}

def fuzz(n):
    "How many of `n` mutated batches were read and how many refused; raise AssertionError if one was read wrong or refused in another way."
    from cifar_oc.batches import unpickle
    rng, bases, counts = np.random.default_rng(17), list(forms()), dict(read=0, refused=0)
    for i in range(n):
        raw = mutated(bases[i % len(bases)], rng)
        try: got = unpickle(raw, 'batch')
        except ValueError as e:
            assert '\n' not in str(e) and str(e).startswith('batch is no CIFAR-10 batch ('), e
            counts['refused'] += 1
            continue
        try: want = truth(raw)
        except Exception as e: # it is no whole batch
            assert len(got) < 2 or 'frame' in str(e), (i, list(got), e) # frames may end early in C, not in Python
            continue
        for k,v in got.items(): assert np.array_equal(np.asarray(want[k]), np.asarray(v)), (i, k)
        counts['read'] += 1
    return counts

def test_fuzz():
    counts, peak = run('from test_sources import fuzz; result = fuzz(2000)')
    assert 1900 < counts['read'] + counts['refused'] <= 2000 and min(counts.values()) > 200, counts
    assert peak < 500, peak

def zeros(path, n):
    "A tar.gz at `path` of `n` × 32 MiB of zeros and then a picture; gzip allows many streams in one file, so each is packed once."
    def block(name, data, size):
        o = tarfile.TarInfo(name)
        o.size = size
        return o.tobuf() + data
    piece = gzip.compress(bytes(2**25), 1)
    path.write_bytes(gzip.compress(block('junk.bin', b'', n*2**25)) + piece*n + gzip.compress(block('train/cat/1.png', bytes(1024), 1) + bytes(1024)))

def long_header(path):
    "A tar.gz whose header for a long name is 4 GiB."
    o = tarfile.TarInfo('././@LongLink')
    o.type, o.size = tarfile.GNUTYPE_LONGNAME, 2**32
    path.write_bytes(gzip.compress(o.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(2**25), 1)*128)

def many_headers(path):
    "A tar.gz of 3,000 files, each with a comment of 100 kB."
    o = tarfile.TarInfo('x')
    o.pax_headers = dict(comment='y'*10**5)
    path.write_bytes(gzip.compress(o.tobuf(tarfile.PAX_FORMAT))*3000 + gzip.compress(bytes(1024)))

def packed(path, how):
    "A zip with one batch of zeros, 128 MiB, packed with `how`."
    with zipfile.ZipFile(path, 'w', how, compresslevel=1) as z, z.open('cifar/data_batch_1', 'w') as f:
        for _ in range(8): f.write(bytes(2**24))

def many(path):
    "A zip with 140,000 empty files."
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(140_000): z.writestr(zipfile.ZipInfo(str(i)), b'')

bombs = {'zeros.tgz': (lambda p: zeros(p, 64), 'unpacks to more than 1 GiB'), 'header.tgz': (long_header, 'has a header of more than 16 MiB'),
         'headers.tgz': (many_headers, 'has 3,000 files'), 'deflate.zip': (lambda p: packed(p, zipfile.ZIP_DEFLATED), 'a file of more than 64 MiB'), 'bzip2.zip': (lambda p: packed(p, zipfile.ZIP_BZIP2), 'a file of more than 64 MiB'),
         'lzma.zip': (lambda p: packed(p, zipfile.ZIP_LZMA), 'a file of more than 64 MiB'), 'many.zip': (many, 'holds more than 131,072 files')}

@pytest.mark.parametrize('name', bombs)
def test_bomb(name, tmp_path):
    make, what = bombs[name]
    make(tmp_path/name)
    message, peak = run('''
from cifar_oc.data import load_cifar10
try: result = repr(load_cifar10(sys.argv[2], cache=sys.argv[3]))
except ValueError as e: result = str(e)''', tmp_path/name, tmp_path/'cache')
    assert what in message and '\n' not in message
    assert peak < (200 if name == 'headers.tgz' else 500), peak

def test_killed_decode(tmp_path, pictures):
    "A decode that is killed while it writes leaves a folder; the next one removes it, and not that of one that still runs."
    code = '''
import os, sys
import cifar_oc.data as d
d.np.save = lambda *args: os._exit(9)
d.load_cifar10(sys.argv[1], cache=sys.argv[2])'''
    done = subprocess.run([sys.executable, '-c', code, str(pictures), str(tmp_path)], capture_output=True)
    assert done.returncode == 9 and list(tmp_path.glob('cifar_oc-decoding-*'))
    from cifar_oc.data import load_cifar10
    load_cifar10(pictures, cache=tmp_path)
    assert not list(tmp_path.glob('cifar_oc-decoding-*'))

@contextmanager
def without_rights(folder):
    "Inside, nothing can be written in `folder`."
    root = os.geteuid() == 0
    folder.chmod(0o555)
    if root: os.seteuid(65534)
    try: yield
    finally:
        if root: os.seteuid(0)
        folder.chmod(0o755)

@pytest.mark.skipif(not hasattr(os, 'geteuid'), reason='Windows has other rights')
def test_read_only_cache():
    "A cache that cannot be written serves what it has, without a lock; for what it has not, the line says what to do."
    from cifar_oc.data import load_cifar10
    with tempfile.TemporaryDirectory() as tmp:
        (tmp := Path(tmp)).chmod(0o755)
        write_pictures(tmp/'pictures')
        want = load_cifar10(tmp/'pictures', cache=tmp/'cache')
        before = sorted(os.listdir(tmp/'cache'))
        with without_rights(tmp/'cache'):
            assert np.array_equal(load_cifar10(tmp/'pictures', cache=tmp/'cache').train_x, want.train_x)
            with pytest.raises(OSError, match='cannot write to the cache folder'): load_cifar10(tmp/'pictures/train/..', cache=tmp/'cache/none')
        assert sorted(os.listdir(tmp/'cache')) == before
