"""Seconds to name 1,000 photographs in files, 640×480 JPEG each, by a run of the course network.

Ours is `Run.predict` of their folder, with all that belongs to it: weights read and checked, files found, decoded by
threads, batches. Its peer is a plain loop: Pillow opens, crops and resizes one file after another, then the same network takes the
same batches. Decoding alone and the forward pass alone are timed beside them: ours has to stay within 2 × decoding + forward pass."""
import tempfile, time
from pathlib import Path
from common import *

def write_photos(folder, ds, n):
    "`n` JPEG files of 640×480 pixels, each from four pictures of `ds`, with noise as a camera has it"
    import numpy as np
    from PIL import Image
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(n):
        four = ds.train_x[(4*i + np.arange(4)) % len(ds.train_x)]
        im = Image.fromarray(np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])).resize((640, 480), Image.BICUBIC)
        x = np.asarray(im) + rng.normal(0, 4, (480, 640, 1))
        Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(folder/f'{i:04}.jpg', quality=90)

def new_run(folder):
    "A run of the course network with the weights as they begin: the time is the same"
    from cifar_oc.config import Config
    from cifar_oc.predict import Run
    run = Run.create(folder, Config('demo', seed=0, vocab=tuple('abcdefghij')))
    run.save_result(run.recipe.net(10), dict(accuracy=.1, loss=2.3, n=1))
    return run

def plain_decode(files):
    "N×32×32×3 uint8: the middle squares, one file after another"
    import numpy as np
    from PIL import Image, ImageOps
    return np.stack([np.asarray(ImageOps.fit(Image.open(f).convert('RGB'), (32, 32), Image.BICUBIC)) for f in files])

def seconds(f):
    def timed():
        start = time.perf_counter()
        f()
        return time.perf_counter() - start
    return timed

def main(args):
    from cifar_oc.pictures import to_picture
    n = 60 if args.quick else 1000
    ds = pictures(args, 4096, 16)
    with tempfile.TemporaryDirectory(prefix='bench') as tmp:
        photos, run = Path(tmp)/'photos', new_run(Path(tmp)/'run')
        write_photos(photos, ds, n)
        files, net = sorted(photos.iterdir()), run.predictor()
        pics = plain_decode(files)
        v = alternate({k: seconds(f) for k,f in dict(
            ours=lambda: run.predict(photos),
            plain=lambda: run.predictor().probabilities(plain_decode(files)),
            decode=lambda: [to_picture(f) for f in files],
            forward=lambda: net.probabilities(pics)).items()}, args.rounds)
    limit = [2*d + f for d,f in zip(v['decode'], v['forward'])]
    report(args, [figure(f'Run.predict, {n:,} files', v['ours'], 's', better='lower'), figure('plain loop and forward pass', v['plain'], 's', better='lower'),
        figure('decoding alone, one after another', v['decode'], 's', better='lower'), figure('forward pass alone', v['forward'], 's', better='lower'),
        figure('ours ÷ (2 × decoding + forward pass)', ratios(v['ours'], limit), '×', 1, 'lower'),
        figure('ours ÷ plain loop', ratios(v['ours'], v['plain']), '×', better='lower')], data=ds.name, setting='course network, float32')

if __name__ == '__main__': run(main, parser(__doc__))
