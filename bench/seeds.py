"""Accuracy and seconds of the course recipe on several seeds: 24 epochs each, evaluation at every epoch included.

The first seed finds LRMIN and LRMAX (`learn.find_lrs`), and every seed trains with them through `train`. Seconds are those of
the epochs; finding the rates, drawing the pictures of a run and writing its files are not among them. On a card, also the
share of its peak, as in step.py, the evaluation's forward passes added. --quick trains one epoch of the demo pictures on the first seed."""
import tempfile
from common import *
from step import macs, peak

def one(args, seed, lrs, folder):
    "The `Run` of a training with `seed`"
    from cifar_oc.train import train
    return train(args.source or 'demo', epochs=args.epochs, bs=args.bs, lr_min=lrs[0], lr_max=lrs[1],
        precision=args.precision, seed=seed, out=folder, compile=args.compile).run

def work(ds, epochs):
    "Floating-point operations of a run"
    from cifar_oc.model import CustomResNet
    return epochs * macs(CustomResNet()) * (6*len(ds.train_x) + 2*len(ds.test_x))

def main(args):
    import matplotlib
    matplotlib.use('agg')
    from cifar_oc.data import load_cifar10
    from fastai.torch_core import default_device
    args.epochs = args.epochs or (1 if args.quick else 24)
    if args.quick: args.source, args.seeds = 'demo', args.seeds[:1]
    lrs, metrics = ((1e-5, 1e-3) if args.quick else (None, None)), []
    with tempfile.TemporaryDirectory(prefix='bench') as tmp:
        for seed in args.seeds:
            run = one(args, seed, lrs, Path(tmp)/str(seed))
            lrs = run.config.lr_min, run.config.lr_max
            metrics.append(run.metrics)
    seconds, m = [o['seconds'] for o in metrics], metrics[0]
    card, ds = default_device().type == 'cuda', load_cifar10(args.source or 'demo')
    figures = [figure('test accuracy', [100*o['accuracy'] for o in metrics], '%', seeds=args.seeds, each=[o['accuracy'] for o in metrics],
            mean=statistics.mean(o['accuracy'] for o in metrics), sd=statistics.stdev(o['accuracy'] for o in metrics) if len(metrics) > 1 else None),
        figure('an epoch', [s/args.epochs for s in seconds], 's', None, 'lower'),
        figure(f'{args.epochs} epochs', seconds, 's', 10 if card and args.epochs == 24 and args.source else None, 'lower')]
    if card: figures.append(figure('share of the peak', [work(ds, args.epochs)/s/peak(default_device(), m['precision']) for s in seconds], ''))
    report(args, figures, data=str(ds), setting=f"{m['precision']}, batch {run.config.bs}, LRMIN {lrs[0]:.3g}, LRMAX {lrs[1]:.3g}, without test-time augmentation")

p = parser(__doc__, rounds=False)
p.add_argument('--seeds', type=seeds, default=[0, 1, 2], metavar='N,N,…', help='one run each (default: 0,1,2)')
p.add_argument('--epochs', type=count, help="passes over the training pictures (default: 24; 1 with --quick)")
p.add_argument('--bs', type=count, help="pictures a batch (default: the recipe's)")
p.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), help='default: what this machine does best')
p.add_argument('--compile', action='store_true', help='compile the model')
if __name__ == '__main__': run(main, p)
