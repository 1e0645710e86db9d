"""Pictures a CPU-second: augmented, normalised float batches of 512 from each loader.

Ours with both values of `augment`, the course notebooks' (a torch DataLoader, Albumentations picture by picture) and
naive fastai's (`ImageDataLoaders` over PNG files, an Albumentations item transform). One process, one thread, no worker
processes, no card: what is counted is processor time (time.process_time), whole epochs for at least a second a round.

Then the cost as work grows: one epoch of 50,000 pictures and of 16 times as many, random bytes in memory-mapped files,
each in a process of its own: processor time a picture, and anonymous resident memory (RssAnon)."""
import os, shutil, sys, tempfile, time
from pathlib import Path
from common import *

def one_thread():
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    import cv2, torch
    torch.set_num_threads(1)
    cv2.setNumThreads(0)

def rate(dl, seconds):
    "A function: pictures a CPU-second of whole epochs of `dl`, for at least `seconds`"
    def pictures_a_second():
        n, start = 0, time.process_time()
        while time.process_time() - start < seconds: n += sum(len(x) for x,y in dl)
        return n / (time.process_time() - start)
    return pictures_a_second

def loaders(args, folder):
    "Each loader over as many pictures as it gets through in a second or two; the slow ones take the first of them"
    from cifar_oc.data import Cifar10
    from cifar_oc.loaders import cifar_dls
    from peers import course_loaders, naive_dls
    n, few = (8192, 512) if args.quick else (50_000, 2048)
    ds = pictures(args, n, 512)
    part = Cifar10(ds.train_x[:few], ds.train_y[:few], ds.test_x, ds.test_y, ds.vocab, ds.name)
    dls = {'batch': cifar_dls(ds, num_workers=0, augment='batch'), 'albumentations': cifar_dls(part, num_workers=0, augment='albumentations'),
           'course': course_loaders(part, 512)[0], 'naive': naive_dls(part, folder, 512)}
    return ds.name, {k: getattr(v, 'train', v) for k,v in dls.items()}

def speed(args, folder):
    "What the pictures are, and the figures of the four loaders"
    data, dls = loaders(args, folder)
    v = alternate({k: rate(dl, .3 if args.quick else 1) for k,dl in dls.items()}, args.rounds)
    names = dict(batch='ours, batched', albumentations='ours, Albumentations', course='course loader', naive='naive fastai from files')
    return data, [*[figure(names[k], v[k], 'pictures/CPU-second') for k in names],
        figure('batched ÷ course', ratios(v['batch'], v['course']), '×', 8),
        figure('Albumentations path ÷ course', ratios(v['albumentations'], v['course']), '×', 1.5),
        figure('batched ÷ naive fastai', ratios(v['batch'], v['naive']), '×', 20)]

def write(folder, n):
    "`n` random pictures and labels as .npy files in `folder`"
    import numpy as np
    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(folder/'x.npy', 'w+', np.uint8, (n, 32, 32, 3))
    for i in range(0, n, 10_000): x[i:i+10_000] = rng.integers(0, 256, x[i:i+10_000].shape, np.uint8)
    np.save(folder/'y.npy', np.arange(n) % 10)

def one_epoch(folder):
    "Microseconds of processor time a picture, and most RssAnon, of one epoch of the pictures in `folder`"
    one_thread()
    import numpy as np
    from cifar_oc.data import Cifar10
    from cifar_oc.loaders import cifar_dls
    x, y = (np.load(Path(folder)/f'{o}.npy', mmap_mode='r') for o in 'xy')
    dl = cifar_dls(Cifar10(x, y, x[:512], y[:512], list('abcdefghij'), 'random bytes'), num_workers=0, augment='batch').train
    next(iter(dl))
    start, most = time.process_time(), 0
    for i,_ in enumerate(dl): most = most if i % 32 else max(most, status('RssAnon'))
    print(json.dumps(dict(us=(time.process_time() - start) / len(x) * 1e6, mb=most)))

def growth(args, folder):
    "The figures of 16 times the pictures"
    small = 6250 if args.quick else 50_000
    if shutil.disk_usage(folder).free < 18*small*3072: raise ValueError(f'{folder} has too little space for {17*small*3072/1e9:.1f} GB of pictures; set TMPDIR to a folder that has it')
    runs = {}
    for n in small, 16*small:
        (sub := folder/str(n)).mkdir()
        write(sub, n)
        runs[n] = lambda sub=sub: child('--child', sub)
    low, high = alternate(runs, args.rounds, warm=False).values()
    a, b = ([[o[k] for o in got] for k in ('us', 'mb')] for got in (low, high))
    return [figure(f'{small:,} pictures', a[0], 'µs/picture', better='lower'), figure(f'{16*small:,} pictures', b[0], 'µs/picture', better='lower'),
        figure('16 × the pictures: time a picture', ratios(b[0], a[0]), '×', 1.1, 'lower'),
        figure(f'RssAnon at {small:,} pictures', a[1], 'MB', better='lower'), figure('16 × the pictures: RssAnon', ratios(b[1], a[1]), '×', 1.1, 'lower')]

def main(args):
    if args.child: return one_epoch(args.child)
    one_thread()
    with tempfile.TemporaryDirectory(prefix='bench') as tmp:
        data, figures = speed(args, Path(tmp)/'png')
        report(args, figures + growth(args, Path(tmp)), data=data)

p = parser(__doc__)
p.add_argument('--child', help=argparse.SUPPRESS)
if __name__ == '__main__': run(main, p)
