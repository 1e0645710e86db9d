"""Milliseconds of a 3×3 convolution: by the library (oneDNN) and as a matrix product, forward and both gradients.

The shapes are those of the course network and some beside them, channels-last. `Conv3x3` takes the product where this table
says that it pays. `ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2` in the environment shows a
processor without AVX-512, `ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16` one without AMX."""
from common import *

shapes = (64, 128, 32), (128, 128, 16), (128, 256, 16), (256, 512, 8), (256, 256, 8), (512, 512, 4), (128, 128, 4), (512, 512, 2)

def ways(i, o, side, bs, dtype):
    "The functions that are timed, for `i` channels in and `o` out: three of the library, three of the product"
    import torch
    from cifar_oc.layers import _filtered, _seen
    def last(*size): return torch.randn(size).to(dtype).to(memory_format=torch.channels_last)
    x, grad, w = last(bs, i, side, side), last(bs, o, side, side), last(o, i, 3, 3)/(9*i)**.5
    def backward(*mask): return torch.ops.aten.convolution_backward(grad, x, w, None, [1,1], [1,1], [1,1], False, [0,0], 1, [*mask, False])
    rows = grad.permute(0, 2, 3, 1).reshape(-1, o)
    return {('library', 'forward'): lambda: torch.conv2d(x, w, padding=1), ('product', 'forward'): lambda: _filtered(_seen(x), w, x),
        ('library', 'to the input'): lambda: backward(True, False),
        ('product', 'to the input'): lambda: _filtered(_seen(grad), w.flip(2, 3).transpose(0, 1), grad),
        ('library', 'to the weights'): lambda: backward(False, True), ('product', 'to the weights'): lambda: rows.T @ _seen(x)}

def timed(f):
    "A function that returns the milliseconds of `f`"
    def ms():
        start = time.perf_counter()
        f()
        return 1000*(time.perf_counter() - start)
    return ms

def main(args):
    import torch
    from cifar_oc.learner import best_precision, keep_memory
    keep_memory()  # as in training
    precision, bs = args.precision or best_precision('cpu'), args.bs or (8 if args.quick else 512)
    figures = []
    for i, o, side in shapes:
        v = alternate({k: timed(f) for k,f in ways(i, o, side, bs, dict(fp32=torch.float32, bf16=torch.bfloat16)[precision]).items()}, args.rounds)
        name = f'{i}→{o}, {side}×{side}'
        figures += [figure(f'{name}, {what}, {by}', ms, 'ms', None, 'lower') for (by,what),ms in v.items()]
        whole = {by: [sum(o) for o in zip(*[ms for (b,_),ms in v.items() if b == by])] for by in ('library','product')}
        figures.append(figure(f'{name}, library ÷ product', ratios(whole['library'], whole['product']), '×'))
    report(args, figures, setting=f'{precision}, batch {bs}, channels last')

p = parser(__doc__)
p.add_argument('--precision', choices=('fp32', 'bf16'), help='(default: what this machine does best)')
p.add_argument('--bs', type=count, help='pictures a batch (default: 512)')
if __name__ == '__main__': run(main, p)
