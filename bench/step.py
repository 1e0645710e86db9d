"""Pictures a second of a training step: loader, forward, backward, optimiser, logging.

Ours (`learn.fit_course`, its training part), the course notebooks' loop, and the bare loop, which computes what ours does
without a framework. A round trains some steps with each; a card is waited for at both ends. The first round is not counted.
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
    return device, precision, bs, args.steps or ((20 if args.quick else 97) if card else 2 if args.quick else 4)

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

def main(args):
    device, precision, bs, steps = settings(args)
    from peers import bare_loop, course_loop, our_loop
    ds = pictures(args, n := bs*steps, 64)
    fns = dict(ours=our_loop(ds, bs, precision, args.compile), course=course_loop(ds, bs, device), bare=bare_loop(ds, bs, device, precision, args.compile))
    v = alternate({k: lambda f=f: n / f() for k,f in fns.items()}, args.rounds)
    names = dict(ours='ours', course='course loop', bare='bare loop')
    report(args, [*[figure(names[k], v[k], 'pictures/s') for k in names],
        figure('ours ÷ course loop', ratios(v['ours'], v['course']), '×', 3.3),
        figure('ours ÷ bare loop', ratios(v['ours'], v['bare']), '×', .9 if device.type == 'cuda' else .97),
        *card_share(v, device, precision)], data=ds.name, setting=f'{device.type}, {precision}{", compiled" if args.compile else ""}, batch {bs}, {steps} steps a round')

p = parser(__doc__)
p.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), help='of ours and the bare loop (default: what this machine does best)')
p.add_argument('--bs', type=count, help='pictures a batch (default: 512; 128 on a processor without bfloat16)')
p.add_argument('--steps', type=count, help='steps a round (default: 97 on a card, else 4)')
p.add_argument('--compile', action='store_true', help='compile the model of ours and of the bare loop')
if __name__ == '__main__': run(main, p)
