"""Which choices matter: many variations in short runs, judged on 5,000 training pictures that are held out; the test set is never read.

Studies: `recipes` trains every recipe; `levers` changes one thing of a base at a time, and ends with what helped, together; `muon` tries Muon in
place of AdamW there, at several rates; `long` changes more of it, for longer runs; `rates` trains on a grid of LRMAX over two decades, with LRMIN a
hundredth of it, and with the rates of `find_lrs`, for Adam and for SGD. The network may be a narrow one (--width 16: a quarter of the channels), the
pictures and the epochs few; the JSON says so. --out is written after each run, and goes on where it was cut."""
from common import *

GRID = {'adam': (3e-4, 3e-2), 'sgd': (1e-3, 1e-1)}  # first and last LRMAX

BASE = dict(hole_p=.5, lr_max=4e-3, start_ratio=1/20, end_ratio=1/50, shape='linear', weight_decay=.1, eps=1e-8, label_smoothing=.1)  # changes of `course`

LEVERS = {  # changes of the base
    'base': {},
    'convolutions begin as identity': dict(init='identity'),
    'no label smoothing': dict(label_smoothing=0.),
    'label smoothing .2': dict(label_smoothing=.2),
    'weight decay .02': dict(weight_decay=.02), 'weight decay .4': dict(weight_decay=.4),
    'weight decay on norms and biases too': dict(decay_all=True),
    'L2 1e-4 in place of decoupled decay': dict(opt='adam', weight_decay=1e-4),
    'β₂ .999': dict(sqr_mom=.999),
    'ε 1e-5': dict(eps=1e-5),
    'logits ÷ 4': dict(network='course, logits ÷ 4'),
    'cosine': dict(shape='cos'),
    'no annihilation': dict(end_ratio=1.),
    'rate ÷ 2': dict(lr_max=2e-3), 'rate × 2': dict(lr_max=8e-3), 'rate × 4': dict(lr_max=1.6e-2),
    'average of the weights, decay .95': dict(ema=.95), 'average of the weights, decay .99': dict(ema=.99),
    'average, decay .95, no annihilation': dict(ema=.95, end_ratio=1.),
    'black padding': dict(pad_fill=(0,0,0)),
    'a hole in every picture': dict(hole_p=1.),
    'no hole': dict(hole_p=0.)}

HELPED = BASE | dict(init='identity', lr_max=6e-3, end_ratio=1/5)  # what helped of these, together

MUON = {  # changes of that, without a hole
    'AdamW 6e-3': {},
    **{f'Muon {s}': dict(opt='muon', lr_max=float(s)) for s in ('6e-3', '1.2e-2', '2.4e-2', '4.8e-2')},
    'Muon 1.2e-2, a hole in every other picture': dict(opt='muon', lr_max=1.2e-2, hole_p=.5)}

LONG = {  # changes of what helped, for longer runs
    'what helped': {},
    'weight decay .4': dict(weight_decay=.4),
    'half the batch': dict(bs=256),
    'a hole in every picture': dict(hole_p=1.),
    'label smoothing .2': dict(label_smoothing=.2),
    'logits ÷ 4': dict(network='course, logits ÷ 4'),
    'logits ÷ 4, weight decay .4': dict(network='course, logits ÷ 4', weight_decay=.4),
    'logits ÷ 4, half the batch': dict(network='course, logits ÷ 4', bs=256),
    'Muon': dict(opt='muon', lr_max=1.2e-2),
    'Muon, half the batch': dict(opt='muon', lr_max=1.2e-2, bs=256),
    'Muon, a hole in every picture': dict(opt='muon', lr_max=1.2e-2, hole_p=1.),
    'Muon, label smoothing .2': dict(opt='muon', lr_max=1.2e-2, label_smoothing=.2),
    'Muon, weight decay .4': dict(opt='muon', lr_max=1.2e-2, weight_decay=.4),
    'Muon, logits ÷ 4': dict(opt='muon', lr_max=1.2e-2, network='course, logits ÷ 4'),
    'Muon, logits ÷ 4, label smoothing .2': dict(opt='muon', lr_max=1.2e-2, network='course, logits ÷ 4', label_smoothing=.2)}

def batch_norm(learn, momentum):
    for o in learn.model.modules():
        if hasattr(o, 'running_mean'): o.momentum = momentum

def fast_biases(learn, k):
    "Biases, of batch norm too, learn at `k` times the rate"
    from fastcore.foundation import L
    from fastai.callback.core import Callback
    class FastBiases(Callback):
        order = 61  # after `ParamScheduler`
        def before_batch(self):
            if self.training: self.opt.set_hyper('lr', [(lr := self.opt.hypers[0]['lr']), lr, k*lr])
    def groups(model):
        ps = L(model.named_parameters())
        bias = lambda o: o[0].endswith('bias')
        return L(ps.filter(lambda o: o[1].ndim > 1), ps.filter(lambda o: o[1].ndim < 2 and not bias(o)), ps.filter(bias)).map(lambda g: g.itemgot(1))
    learn.splitter = groups
    learn.add_cb(FastBiases())

def before_epochs(learn, f):
    "Call `f` with the callback before each epoch"
    from fastai.callback.core import Callback
    class EachEpoch(Callback):
        def before_epoch(self): f(self)
    learn.add_cb(EachEpoch())

def augmentation(learn): return next(t for t in learn.dls.train.after_item.fs if hasattr(t, 'hole_p'))

def hole_until(learn, share):
    "CutOut ends when `share` of the epochs is done"
    def stop(cb):
        if cb.epoch >= share*cb.n_epoch: augmentation(learn).hole_p = 0.
    before_epochs(learn, stop)

def alternating_flip(learn):
    "A random half of the training pictures begins mirrored, and every one is mirrored after each epoch"
    import numpy as np
    from fastai.vision.all import Transform
    augmentation(learn).flip_p = 0.
    tfms, n = learn.dls.train_ds.tls[0].tfms, len(learn.dls.train_ds)
    pictures, half = tfms.fs[0], np.random.default_rng(learn.dls.train.rng.getrandbits(32)).random(n) < .5
    mirrored = np.append(half, np.zeros(len(learn.dls.valid_ds), bool))
    def encodes(rows): return np.where(mirrored[rows][...,None,None,None], (x := pictures(rows))[...,::-1,:], x)
    def turn(cb):
        if cb.epoch: mirrored[:n] ^= True
    tfms.fs[0] = Transform(encodes)
    before_epochs(learn, turn)

TWEAKS = {  # of the learner, on the base; two of them in longer runs too
    'batch-norm momentum .3': lambda o: batch_norm(o, .3),
    'rate of biases × 8': lambda o: fast_biases(o, 8),
    'hole in the first three quarters': lambda o: hole_until(o, 3/4),
    'alternating flip': alternating_flip}

def variations(study):
    "Name, recipe and change of the learner of each run of `study`; the recipe's rates are found where it has none"
    import numpy as np
    from dataclasses import replace
    from cifar_oc.all import recipes
    if study == 'recipes': return [(k, r, None) for k,r in recipes.items()]
    base, helped = (replace(recipes['course'], **v) for v in (BASE, HELPED))
    if study == 'levers':
        together = [('what helped', helped, None), ('what helped, without a hole', replace(helped, hole_p=0.), None)]
        return [(k, replace(base, **v), None) for k,v in LEVERS.items()] + [(k, base, f) for k,f in TWEAKS.items()] + together
    if study == 'muon': return [(k, replace(helped, **dict(hole_p=0.) | v), None) for k,v in MUON.items()]
    if study == 'long': return [(k, replace(helped, **v), None) for k,v in LONG.items()] + [(k, helped, TWEAKS[k]) for k in ('rate of biases × 8', 'alternating flip')]
    base = dict(adam=recipes['course'], sgd=replace(recipes['course'], opt='sgd', weight_decay=5e-4, decay_all=True))
    return [o for k,r in base.items() for o in [(f'{k} found', r, None),
        *((f'{k} {lr:.1e}', replace(r, lr_max=float(lr), start_ratio=.01), None) for lr in np.geomspace(*GRID[k], 7))]]

def held_out(args):
    "A `Cifar10` of --pictures training pictures, and 5,000 others of the training set in place of the test set"
    import numpy as np
    from cifar_oc.data import Cifar10, load_cifar10
    ds = load_cifar10(args.source or 'demo')
    i, k = np.random.default_rng(0).permutation(len(ds.train_x)), min(5000, len(ds.train_x)//5)
    valid, train = np.sort(i[:k]), np.sort(i[k:k+args.pictures])
    return Cifar10(ds.train_x[train], ds.train_y[train], ds.train_x[valid], ds.train_y[valid], ds.vocab, ds.name)

def last_only():
    "A callback that leaves out the validation of all epochs but the last"
    from fastai.callback.core import Callback, CancelValidException
    class LastOnly(Callback):
        def before_validate(self):
            if self.epoch < self.n_epoch - 1: raise CancelValidException
    return LastOnly()

def one(args, ds, recipe, tweak, seed):
    "Accuracy after the last epoch, seconds and rates of one run"
    from fastai.vision.all import set_seed
    from cifar_oc.all import History, cifar_dls, cifar_learner
    start = time.perf_counter()
    set_seed(seed)
    dls = cifar_dls(ds, args.bs*recipe.bs//512, seed=seed, **recipe.loader_args())
    learn, history = cifar_learner(dls, recipe, args.precision, model=recipe.net(10, width=args.width)), History()
    learn.add_cb(last_only())
    if tweak: tweak(learn)
    with learn.no_bar(), learn.no_logging():
        lrs = (recipe.lr_max*recipe.start_ratio, recipe.lr_max) if recipe.lr_max else learn.find_lrs(show_plot=False)
        learn.fit_course(args.epochs, lrs, recipe.pct_start, recipe.end_ratio, recipe.shape, recipe.run_share, cbs=history)
    row = history.rows[-1]
    return dict(epochs=args.epochs, accuracy=row['valid_accuracy'], seconds=round(time.perf_counter() - start, 1), tta=False, train_loss=round(row['train_loss'], 4), lr_min=float(lrs[0]), lr_max=float(lrs[1]))

def main(args):
    import torch
    from cifar_oc.bench import accuracy_table, paired_table
    from cifar_oc.files import replace_text
    torch.set_num_threads(args.threads or torch.get_num_threads())
    if args.quick: args.source, args.pictures, args.epochs, args.bs, args.width, args.seeds = 'demo', 64, 1, 16, 8, args.seeds[:1]
    every = variations(args.study)
    names = [o[0] for o in every]
    if unknown := set(args.only or []) - set(names): raise ValueError(f"--only names {', '.join(unknown)}; give some of {', '.join(names)}")
    chosen = [o for o in every if o[0] in (args.only or names)]
    ds = held_out(args)
    setting = f'{len(ds.train_x):,} training pictures, {len(ds.test_x):,} others of the training set held out, {args.epochs} epochs, batch {args.bs}, width {args.width}'
    whole = dict(data=ds.name, setting=setting, machine=machine(), versions=versions(), command=command(), runs=[])
    if args.out and args.out.exists():
        old = json.loads(args.out.read_text(encoding='utf-8'))
        if (old['data'], old['setting']) != (ds.name, setting): raise ValueError(f"{args.out} is of {old['data']}, {old['setting']}; give another --out")
        whole |= dict(runs=old['runs'], command='; '.join(dict.fromkeys([*old['command'].split('; '), whole['command']])))
    done = {(o['recipe'], o['seed']) for o in whole['runs']}
    for seed in args.seeds:
        for name, recipe, tweak in chosen[:2 if args.quick else None]:
            if (name, seed) in done: continue
            whole['runs'].append(dict(recipe=name, seed=seed) | one(args, ds, recipe, tweak, seed))
            print(f"{name}, seed {seed}: {whole['runs'][-1]['accuracy']:.2%}", flush=True)
            if args.out: replace_text(args.out, json.dumps(whole, indent=1, ensure_ascii=False) + '\n')
    print(f'\n{setting}\n{accuracy_table(whole["runs"]).round(2).to_string()}\n\n{paired_table(whole["runs"]).round(2).to_string()}')

p = parser(__doc__, rounds=False)
p.add_argument('study', choices=('recipes', 'levers', 'muon', 'long', 'rates'))
p.add_argument('--only', type=lambda s: re.split(',(?! )', s), metavar='A,B,…', help='only these variations; a name may hold a comma and a space')
p.add_argument('--seeds', type=seeds, default=[0, 1, 2], metavar='N,N,…', help='one run of each variation for each (default: 0,1,2)')
p.add_argument('--pictures', type=count, default=45_000, metavar='N', help='training pictures (default: 45000, all that are not held out)')
p.add_argument('--epochs', type=count, default=24, metavar='N', help='default: 24')
p.add_argument('--bs', type=count, default=512, metavar='N', help='pictures a batch, where the recipe has 512 (default: 512)')
p.add_argument('--width', type=count, default=64, metavar='N', help='channels of the first layer (default: 64, the course network)')
p.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), help='default: what this machine does best')
p.add_argument('--threads', type=count, metavar='N', help='of torch (default: its own choice)')
if __name__ == '__main__': run(main, p)
