"""What each choice is worth: changes of a recipe, in runs of the course network, judged on training pictures that are held out
(--valid). The test set is never read.

Studies: `levers` changes one thing of `quick` at a time, in --epochs epochs. Then it trains all that gain together: a change gains
if its mean paired difference is more than twice its standard error. `rates` trains `course` on a grid of five LRMAX, with LRMIN a
hundredth of it, and with the rates that `find_lrs` finds. Runs are those of `cifar_oc.bench`, in folders below --runs: they can be
interrupted, and the same command resumes."""
from common import *

LEVERS = {  # changes of `quick`; five at most: the more are tried, the likelier one gains by luck
    'AdamW': dict(opt='adamw', lr_max=6e-3),
    'a hole in every picture': dict(hole_p=1.),
    'weight decay .4': dict(weight_decay=.4),
    'logits ÷ 4': dict(network='course, logits ÷ 4'),
    'batch 256': dict(bs=256)}

GRID = 3e-4, 1e-3, 3e-3, 1e-2, 3e-2  # LRMAX

def variations(study):
    "The recipes of `study` by name"
    from dataclasses import replace
    from cifar_oc.recipes import recipes
    if study == 'levers': return {'quick': recipes['quick']} | {k: replace(recipes['quick'], **v) for k,v in LEVERS.items()}
    grid = {f'LRMAX {lr:g}': replace(recipes['course'], lr_max=lr, start_ratio=.01) for lr in GRID}
    return {'found': recipes['course']} | grid

def together(runs):
    "`quick` with all levers that gain in `runs`, by name; none where fewer than two do"
    from dataclasses import replace
    from cifar_oc.bench import paired_table
    from cifar_oc.recipes import recipes
    table = paired_table(runs, 'quick')
    gain = [k for k in LEVERS if f'{k} - quick' in table.index and (r := table.loc[f'{k} - quick'])['mean'] > 2*r.sd/r.n**.5]
    changes = {field: v for k in gain for field,v in LEVERS[k].items()}
    return {' and '.join(gain): replace(recipes['quick'], **changes)} if len(gain) > 1 else {}

def main(args):
    import matplotlib
    matplotlib.use('agg')
    from cifar_oc.bench import accuracy_table, bench, paired_table
    from cifar_oc.executors import executor_of
    every = variations(args.study)
    unknown = set(args.only or []) - set(every)
    if unknown: raise ValueError(f"--only names {', '.join(unknown)}; give some of {', '.join(every)}")
    chosen = {k: r for k,r in every.items() if k in (args.only or every)}
    if args.quick:
        chosen = dict(list(chosen.items())[-2:])  # of `rates` two whose rates need no search
        args.epochs, args.seeds = 1, args.seeds[:1]
    name = args.study if args.study == 'rates' else f'levers-{args.epochs}'
    out = args.out or args.runs/f'{name}.json'
    def train(chosen):
        with executor_of(args.workers) as executor:
            return bench(chosen, args.seeds, args.source or 'demo', args.epochs, valid=args.valid, precision=args.precision,
                runs=args.runs/name, out=out, command=command(), executor=executor)
    runs = train(chosen)
    if 'quick' in chosen and (more := together(runs)): runs = train(chosen | more)
    for t in accuracy_table(runs), paired_table(runs): print(f'\n{t.round(2).to_string()}')

p = parser(__doc__, rounds=False)
p.add_argument('study', choices=('levers', 'rates'))
p.add_argument('--workers', type=count, metavar='N', help='train N runs at once (default: one after the other)')
p.add_argument('--only', type=lambda s: s.split(','), metavar='A,B,…', help='only these variations')
p.add_argument('--seeds', type=seeds, default=[0, 1, 2], metavar='N,N,…', help='one run of each variation for each (default: 0,1,2)')
p.add_argument('--epochs', type=count, default=8, metavar='N', help='default: 8')
p.add_argument('--valid', type=float, default=.1, metavar='SHARE', help='of the training pictures, held out (default: 0.1)')
p.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), help='default: what this machine does best')
p.add_argument('--runs', type=Path, default=Path('runs/choices'), metavar='DIR', help='folder of the run folders (default: runs/choices)')
if __name__ == '__main__': run(main, p)
