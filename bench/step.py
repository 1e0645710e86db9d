"""Pictures a second of a training step: loader, forward, backward, optimiser, logging.

Ours (`learn.fit_course`, its training part), the course notebooks' loop, and the bare loop: the network, layout, precision, optimiser
and augmentation of ours, without a framework and with PyTorch's own layers. A round trains some steps with each, after as many that are
not counted; a card is waited for at both ends. On a processor each has a process of its own, for what ours sets in the C library would help them all.

There is a fourth, on a processor: the roofline. It is the least time that this machine needs for the layers of a step. Each convolution counts by the fastest
way that was found for it (`conv.py`), for its forward pass and each gradient. What lies between counts by the memory it has to read and write, at the speed of a copy.

On a card, also the share of its peak: floating-point operations (2 × 3 × multiply-adds: forward, and twice that backward)
a second, over those of a matrix product of 8192 × 8192 in the same process."""
from common import *

def settings(args):
    "Device, precision, pictures a batch and steps a round: what was asked for, else what fits this machine"
    from cifar_oc.learner import best_precision, precision_cbs
    from fastai.torch_core import default_device
    device = default_device()
    precision = args.precision or best_precision(device)
    precision_cbs(precision, device)  # raises where the device lacks it
    card = device.type == 'cuda'
    bs = args.bs or (32 if args.quick and not card else 512 if card or precision != 'fp32' else 128)
    return device, precision, bs, args.steps or ((20 if args.quick else 97) if card else 2 if args.quick else 8)

def macs(model):
    "Multiply-adds of one picture through the convolutions and the last layer of `model`"
    import torch
    from torch import nn
    total = []
    def hook(m, x, out): total.append(out[0].numel() * m.weight[0].numel())
    hooks = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad(): model.eval()(torch.zeros(1, 3, 32, 32))
    for h in hooks: h.remove()
    return sum(total)

def peak(device, precision):
    "Floating-point operations a second of a large matrix product: the best of ten"
    import torch
    from peers import now
    a = torch.randn(8192, 8192, device=device, dtype=dict(fp32=torch.float32, fp16=torch.float16, bf16=torch.bfloat16)[precision])
    def once():
        start = now(device)
        for _ in range(5): a @ a
        return 5 * 2 * 8192**3 / (now(device) - start)
    return max(once() for _ in range(10))

def card_share(speeds, device, precision):
    "Figures of the share of the card's peak; none without a card"
    if device.type != 'cuda': return []
    from cifar_oc.model import CustomResNet
    flops, top = 6*macs(CustomResNet()), peak(device, precision)
    return [figure(f'peak of the card, {precision} matrix product', [top/1e12], 'TFLOP/s'),
        *[figure(f'share of the peak, {k}', [s*flops/top for s in speeds[k]], '') for k in speeds]]

def layers(bs):
    "Of a training step of the course network: each convolution as (channels in, out, side), and the numbers that the layers between have to read and write"
    import torch
    from torch import nn
    from peers import CourseNet
    model, convs, moved = CourseNet(), [], []
    def hook(m, inputs, out):
        i, o = (bs*t[0].numel() for t in (inputs[0], out))
        if isinstance(m, nn.Conv2d): convs.append((m.in_channels, m.out_channels, out.shape[-1]))
        if isinstance(m, nn.BatchNorm2d): moved.append(3*o + 5*o)  # reads its input twice, writes; backward reads input and gradient twice, writes
        if isinstance(m, nn.ReLU): moved.append(2*o + 3*o)         # reads, writes; backward reads output and gradient, writes
        if isinstance(m, nn.MaxPool2d): moved.append(2*(i + o))    # reads, writes; backward the other way
        if m in (model.r1, model.r3): moved.append(3*o + 3*o)      # the sum of two, and of their gradients
    hooks = [m.register_forward_hook(hook) for m in model.modules()]
    with torch.no_grad(): model(torch.zeros(2, 3, 32, 32))
    return convs, sum(moved)

def roofline(bs, precision):
    "Pictures a second of a step that takes the least time for each layer"
    import torch
    from cifar_oc.learner import keep_memory
    from conv import timed, ways
    keep_memory()
    dtype = dict(fp32=torch.float32, bf16=torch.bfloat16)[precision]
    def least(f): return min(timed(f)() for _ in range(5))
    convs, moved = layers(bs)
    ms, known = 0, {}
    for shape in convs:
        if shape not in known: known[shape] = {k: least(f) for k,f in ways(*shape, bs, dtype).items()}
        for what in 'forward', 'to the input', 'to the weights':
            if what == 'to the input' and shape[0] == 3: continue  # pictures need no gradient
            ms += min(t for (_,w),t in known[shape].items() if w == what)
    a = torch.zeros(bs*64*32*32, dtype=dtype)
    b = torch.empty_like(a)
    return bs / (ms + moved/(2*len(a))*least(lambda: b.copy_(a))) * 1000

def one(args, device, precision, bs, steps):
    "Pictures a second of the peer `args.child`"
    from peers import bare_loop, course_loop, our_loop
    if args.child == 'roofline': return roofline(bs, precision)
    ds = pictures(args, n := bs*steps, 64)
    f = dict(ours=lambda: our_loop(ds, bs, precision, args.compile), course=lambda: course_loop(ds, bs, device),
        bare=lambda: bare_loop(ds, bs, device, precision, args.compile))[args.child]()
    f()
    return n / f()

def speeds(args, device, precision, bs, steps):
    "Peer to its pictures a second, one a round: on a card in this process, else in one for each"
    if device.type == 'cuda':
        from peers import bare_loop, course_loop, our_loop
        ds = pictures(args, n := bs*steps, 64)
        fns = dict(ours=our_loop(ds, bs, precision, args.compile), course=course_loop(ds, bs, device), bare=bare_loop(ds, bs, device, precision, args.compile))
        return alternate({k: lambda f=f: n / f() for k,f in fns.items()}, args.rounds)
    given = ['--bs', bs, '--precision', precision, *(['--source', args.source] if args.source else []), *['--compile']*args.compile]
    peers = dict(ours=steps, course=max(1, steps//4), bare=steps, roofline=1)
    return alternate({k: lambda k=k: child('--child', k, '--steps', peers[k], *given) for k in peers}, args.rounds, warm=False)

def marks(device, precision):
    "Of ours ÷ course loop, and of ours ÷ bare loop"
    if device.type == 'cuda': return 3.3, .9
    return (1.3, 1) if precision == 'fp32' else (4.5, 1.4)

def main(args):
    device, precision, bs, steps = settings(args)
    if args.child: return print(json.dumps(one(args, device, precision, bs, steps)))
    v, (course, bare) = speeds(args, device, precision, bs, steps), marks(device, precision)
    names = dict(ours='ours', course='course loop', bare='bare loop', roofline='roofline of the layers')
    report(args, [*[figure(names[k], v[k], 'pictures/s') for k in v],
        figure('ours ÷ course loop', ratios(v['ours'], v['course']), '×', course),
        figure('ours ÷ bare loop', ratios(v['ours'], v['bare']), '×', bare),
        *[figure('ours ÷ roofline', ratios(v['ours'], v['roofline']), '×', .75)]*('roofline' in v),
        *card_share(v, device, precision)], setting=f'{device.type}, {precision}{", compiled" if args.compile else ""}, batch {bs}, {steps} steps a round')

p = parser(__doc__)
p.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), help='of ours and the bare loop (default: what this machine does best)')
p.add_argument('--bs', type=count, help='pictures a batch (default: 512; 128 on a processor without bfloat16)')
p.add_argument('--steps', type=count, help='steps a round (default: 97 on a card, else 8; the course loop a quarter of that on a processor)')
p.add_argument('--compile', action='store_true', help='compile the model of ours and of the bare loop')
p.add_argument('--child', help=argparse.SUPPRESS)
if __name__ == '__main__': run(main, p)
