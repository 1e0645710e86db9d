"""Pictures a second of a training step by one process and by several, which share each batch.

On a processor: one process with a thread for each core, one with one thread, and a process with one thread for each core. On cards: one process, and one for each card.
Each is a run of its own, several processes by torchrun. A round trains some steps, after as many that are not counted."""
from common import *
from step import settings

def launched(args, n, threads, given):
    "Pictures a second of `n` processes with `threads` each"
    several = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(n)] if n > 1 else []
    done = subprocess.run([sys.executable, *several, sys.argv[0], '--child', *map(str, given)], capture_output=True, text=True, env=os.environ | {'OMP_NUM_THREADS': str(threads)})
    if done.returncode: raise ValueError(f"{n} processes failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])

def one(args, precision):
    "Train twice, and print the pictures a second of the second time, in the first process"
    from cifar_oc.distributed import is_first, join
    from peers import our_loop
    join()
    f = our_loop(pictures(args, n := args.bs*args.steps, 64), args.bs, precision)
    f()
    speed = n / f()
    if is_first(): print(json.dumps(speed), flush=True)

def main(args):
    import torch
    device, precision, bs, steps = settings(args)
    args.bs, args.steps = bs, steps
    if args.child: return one(args, precision)
    card = device.type == 'cuda'
    n = torch.cuda.device_count() if card else max(torch.get_num_threads(), 2)
    given = ['--bs', bs, '--steps', steps, '--precision', precision, *(['--source', args.source] if args.source else [])]
    plans = {'1 card': (1, 4)} | ({f'{n} cards': (n, 4)} if n > 1 else {}) if card else {
        f'1 process, {n} threads': (1, n), '1 process, 1 thread': (1, 1), f'{n} processes, 1 thread each': (n, 1)}
    v = alternate({k: lambda p=p: launched(args, *p, given) for k,p in plans.items()}, args.rounds, warm=False)
    first, *others = v
    report(args, [*[figure(k, v[k], 'pictures/s') for k in v], *[figure(f'{k} ÷ {first}', ratios(v[k], v[first]), '×') for k in others]],
        setting=f'{device.type}, {precision}, {bs} pictures a step, {steps} steps a round')

p = parser(__doc__)
p.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), help='default: what this machine does best')
p.add_argument('--bs', type=count, help='pictures a step, of all processes (default: 512; 128 on a processor without bfloat16)')
p.add_argument('--steps', type=count, help='steps a round (default: 97 on a card, else 8)')
p.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
if __name__ == '__main__': run(main, p)
