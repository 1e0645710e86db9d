"""Peak memory of a short training run at batch 512: steps, then validation, in a process of its own for each.

Ours and the course notebooks' loop, over the same pictures. Peak resident memory is the kernel's own mark (VmHWM, Linux);
anonymous memory (RssAnon, without files mapped into memory) is sampled every 20 ms. On a card, also the most that torch
has held on it. Worker processes, which the course loop has only with a card, are not counted."""
import threading
from common import *
from step import settings

def sample(most):
    "Keep the highest RssAnon in `most`, for as long as the process lives"
    while True:
        most[0] = max(most[0], status('RssAnon'))
        time.sleep(.02)

def train(args):
    "Train and validate the peer `args.child`; print what it took, in MB"
    import torch
    from peers import course_loop, our_loop
    ds, card = pictures(args, args.bs*args.steps, args.bs), torch.cuda.is_available()
    threading.Thread(target=sample, args=[most := [0]], daemon=True).start()
    if args.child == 'ours': our_loop(ds, args.bs, args.precision)(valid=True)
    else: course_loop(ds, args.bs, torch.device('cuda' if card else 'cpu'))(valid=True)  # without an import of fastai, which it does not need
    card = torch.cuda.max_memory_allocated()/2**20 if card else 0
    print(json.dumps(dict(hwm=status('VmHWM'), anon=most[0], card=card)))

def main(args):
    if not Path('/proc/self/status').exists(): raise ValueError('peak memory is read from /proc; run this on Linux')
    args.bs, args.steps = args.bs or (32 if args.quick else 512), args.steps or 2
    if args.child: return train(args)
    device, precision, *_ = settings(args)
    given = ['--bs', args.bs, '--steps', args.steps, *(['--source', args.source] if args.source else []), '--precision', precision]
    v = alternate({k: lambda k=k: child('--child', k, *given) for k in ('ours', 'course')}, args.rounds, warm=False)
    figures = []
    for key, what, mark in [('hwm', 'peak resident memory', .9 if precision == 'fp32' else .7), ('anon', 'peak anonymous memory', None)] + [('card', 'peak on the card', None)]*(device.type == 'cuda'):
        a, b = ([o[key] for o in v[k]] for k in ('ours', 'course'))
        figures += [figure(f'{what}, ours', a, 'MB', None, 'lower'), figure(f'{what}, course loop', b, 'MB', None, 'lower'),
                    figure(f'{what}, ours ÷ course loop', ratios(a, b), '×', mark, 'lower')]
    report(args, figures, setting=f'{device.type}, {precision}, batch {args.bs}, {args.steps} steps and a batch of validation')

p = parser(__doc__)
p.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), help='of ours (default: what this machine does best)')
p.add_argument('--bs', type=count, help='pictures a batch (default: 512)')
p.add_argument('--steps', type=count, help='training steps (default: 2)')
p.add_argument('--child', help=argparse.SUPPRESS)
if __name__ == '__main__': run(main, p)
