"""Seconds of an epoch, training and validation, one change at a time; and seconds from a second start to the first step.

The story begins with the course notebooks' loop. Each line has one change more than the line above; the last but one is
the bare loop, and the last is ours: through `learn.fit_course`, and with this package's own layers. The loader comes first: with a card,
nothing else shows before it is fast. All are timed in turn, in one process, and the first round is not counted. So ours does not
let the C library keep memory here, which would help all the others, too; `step.py` shows what that gains.

A second start is a fresh process that finds the decoded pictures in the cache. It is timed from after the imports
to the moment when the first training batch goes into the model."""
import pickle, tempfile
from common import *
from step import settings

def size(args, device):
    "Pictures to train on, pictures to validate on"
    if device.type == 'cuda': return (10_240, 2048) if args.quick else (50_000, 10_000)
    return (32, 32) if args.quick else (512, 128)

def story(args, device, precision, bs, ds):
    "The loops in the order of the story: name to function"
    from peers import bare_loop, changes, course_loop, loop, our_loop
    fns, so_far = {'course loop': course_loop(ds, bs, device)}, {}
    for name, change in changes(precision, device).items(): fns[f'+ {name}'] = loop(ds, bs, device, **(so_far := so_far | change))
    fns['ours'] = our_loop(ds, bs, precision)
    if args.compile: fns |= {'bare loop, compiled': bare_loop(ds, bs, device, precision, True), 'ours, compiled': our_loop(ds, bs, precision, True)}
    return {k: lambda f=f: f(valid=True) for k,f in fns.items()}

def first_step(args):
    "Print the seconds from after the imports to the first training step"
    from cifar_oc.all import Callback, CancelFitException, cifar_dls, cifar_learner, load_cifar10
    from peers import lr_max, lr_min, now
    class Stop(Callback):
        order = 1000  # after the callbacks that move the batch or change its layout
        def before_batch(self):
            self.at = now(self.dls.device)
            raise CancelFitException
    start, stop = time.perf_counter(), Stop()
    learn = cifar_learner(cifar_dls(load_cifar10(args.child), args.bs or 512, augment='batch'))
    with learn.no_bar(), learn.no_logging(): learn.fit_course(1, (lr_min, lr_max), cbs=stop)
    print(json.dumps(stop.at - start))

def write_batches(args, folder):
    "Drawn pictures in `folder` as cifar-10-batches-py"
    n = 1000 if args.quick else 10_000
    ds = pictures(args, 5*n, n)
    parts = [(f'data_batch_{i+1}', ds.train_x[i*n:(i+1)*n], ds.train_y[i*n:(i+1)*n]) for i in range(5)] + [('test_batch', ds.test_x, ds.test_y)]
    folder.mkdir()
    for name, x, y in parts: (folder/name).write_bytes(pickle.dumps(dict(data=x.transpose(0, 3, 1, 2).reshape(len(x), -1), labels=y.tolist())))
    (folder/'batches.meta').write_bytes(pickle.dumps(dict(label_names=ds.vocab)))

def second_start(args, folder):
    "The seconds of each second start; without --source, of drawn pictures with a cache of their own"
    source, env = args.source, {}
    if not source:
        source, env = folder/'cifar-10-batches-py', dict(XDG_CACHE_HOME=str(folder/'cache'))
        write_batches(args, source)
    given = ['--child', source, *(['--bs', args.bs] if args.bs else [])]
    return alternate({'start': lambda: child(*given, **env)}, args.rounds)['start']

def main(args):
    if args.child: return first_step(args)
    os.environ.setdefault('MALLOC_TRIM_THRESHOLD_', '')  # settings of its own: `keep_memory` lets them stand
    device, precision, bs, _ = settings(args)
    n, n_test = size(args, device)
    with tempfile.TemporaryDirectory(prefix='bench') as tmp: starts = second_start(args, Path(tmp))
    ds = pictures(args, n, n_test)
    v = alternate(story(args, device, precision, bs, ds), args.rounds)
    figures = [figure(k, o, 's', None, 'lower', story=i, faster=figure('', ratios(v['course loop'], o), '×')['value']) for i,(k,o) in enumerate(v.items())]
    report(args, [*figures, figure('course loop ÷ ours', ratios(v['course loop'], v['ours']), '×'), figure('second start to first step', starts, 's', 2, 'lower')],
        data=ds.name, setting=f'{device.type}, {precision}, batch {bs}, {n:,} training and {n_test:,} validation pictures')

p = parser(__doc__)
p.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), help='what the story ends with (default: what this machine does best)')
p.add_argument('--bs', type=count, help='pictures a batch (default: 512; 128 on a processor without bfloat16)')
p.add_argument('--compile', action='store_true', help='compiled models end the story')
p.add_argument('--child', help=argparse.SUPPRESS)
p.set_defaults(steps=None)
if __name__ == '__main__': run(main, p)
