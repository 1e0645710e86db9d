"What the benchmarks share: options, pictures, alternating runs, the table and the JSON. It imports nothing heavy at the top."
import argparse, json, os, platform, re, shlex, signal, statistics, subprocess, sys, time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')
sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, where it is not installed

class Parser(argparse.ArgumentParser):
    "An `ArgumentParser` whose errors are one line, and whose output no encoding of the terminal stops"
    def error(self, message): self.exit(2, f'{self.prog}: {message}; see {self.prog} --help\n')
    def parse_args(self, *args, **kwargs):
        for stream in sys.stdout, sys.stderr:
            if hasattr(stream, 'reconfigure'): stream.reconfigure(errors='replace')
        return super().parse_args(*args, **kwargs)

def count(s):
    "`s` as a whole number, 1 or more"
    if (n := int(s)) < 1: raise ValueError
    return n

def seeds(s):
    "whole numbers with commas between them"
    return [int(o) for o in s.split(',')]

def parser(doc, rounds=True):
    "The options that the benchmarks share; `doc` is the script's docstring"
    p = Parser(description=doc, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='small sizes, under a minute: shows that it runs, measures nothing')
    p.add_argument('--out', type=Path, metavar='FILE', help='also write the figures to FILE, as JSON')
    p.add_argument('--source', metavar='PATH', default=os.environ.get('CIFAR_OC_DATA'), help='folder or archive of CIFAR-10 (default: $CIFAR_OC_DATA, else drawn pictures)')
    if rounds: p.add_argument('--rounds', type=count, help='alternating runs, the first not counted (default: 5; 1 with --quick)')
    return p

def run(main, p):
    "Parse, check, and call `main` with the options; bad input is one line and exit status 2"
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary folders go
    if 'rounds' in args: args.rounds = args.rounds or (1 if args.quick else 5)
    if args.out and (args.out.is_dir() or not args.out.parent.is_dir()): p.error(f'--out {args.out} is a folder or in a folder that does not exist')
    if args.source and args.source != 'demo' and not Path(args.source).expanduser().exists(): p.error(f'--source {args.source} does not exist')
    try: main(args)
    except (OSError, ValueError) as e: p.exit(2, f"{p.prog}: {' '.join(str(e).split())}\n")
    except KeyboardInterrupt: p.exit(130, f'\n{p.prog}: stopped\n')

def pictures(args, n_train, n_test):
    "A `Cifar10` of `n_train` and `n_test` pictures, from --source or drawn; where there are fewer, they repeat"
    import numpy as np
    from cifar_oc.data import Cifar10, demo_cifar10, load_cifar10
    ds = load_cifar10(args.source) if args.source else demo_cifar10(n_train=min(n_train, 4096), n_test=min(n_test, 1024))
    def take(a, n): return a[np.arange(n) % len(a)]
    return Cifar10(take(ds.train_x, n_train), take(ds.train_y, n_train), take(ds.test_x, n_test), take(ds.test_y, n_test), ds.vocab, ds.name)

def child(*args, **env):
    "The JSON that a fresh process of this script prints last, run with `args`"
    done = subprocess.run([sys.executable, sys.argv[0], *map(str, args)], env=os.environ | env, capture_output=True, text=True)
    if done.returncode: raise ValueError(f"a run of its own failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])

def status(key):
    "A field of /proc/self/status, in MB, as VmHWM or RssAnon"
    return int(re.search(rf'^{key}:\s+(\d+)', Path('/proc/self/status').read_text(), re.M)[1]) / 1024

def alternate(fns, rounds, warm=True):
    "What each of `fns`, a dict of functions, returned in each of `rounds`; another one begins each round. With `warm`, one more round goes before"
    names, values = list(fns), {k: [] for k in fns}
    for r in range(-warm, rounds):
        start = time.perf_counter()
        got = {k: fns[k]() for k in names[r % len(names):] + names[:r % len(names)]}
        if r >= 0: [values[k].append(v) for k,v in got.items()]
        print(f'{"warm-up" if r < 0 else f"round {r+1} of {rounds}"}: {time.perf_counter()-start:.1f} s', file=sys.stderr, flush=True)
    return values

def ratios(a, b): return [x/y for x,y in zip(a, b)]

def figure(name, values, unit, mark=None, better='higher', **more):
    "One line of the table: the median of `values`, one a round, and their range"
    low, mid, high = (float(f'{f(values):.4g}') for f in (min, statistics.median, max))
    return dict(name=name, value=mid, unit=unit, mark=mark, better=better, rounds=len(values), spread=[low, high]) | more

def machine():
    "Processor, cores, memory and card, in words"
    import torch
    info = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').exists() else ''
    name = re.search(r'model name\s*: (.*)', info)
    ram = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    card = f', {torch.cuda.get_device_name()}' if torch.cuda.is_available() else ''
    return f'{name[1] if name else platform.processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {ram:.0f} GiB{card}'

def versions():
    "Of Python and of what is timed"
    found = {'python': platform.python_version()}
    for o in 'cifar_oc torch fastai albumentations opencv-python-headless numpy'.split():
        try: found[o] = version(o)
        except PackageNotFoundError: pass
    return found

def command():
    "The command that was given, its paths cut to names and --out left out"
    words, out = iter(sys.argv[1:]), []
    for w in words:
        if w == '--out': next(words)
        elif not w.startswith('--out='): out.append(re.sub(r'[^=]*/(?=.)', '', w))
    return shlex.join(['python', f'bench/{Path(sys.argv[0]).name}', *out])

def report(args, figures, **more):
    "Print the table of `figures`; write the JSON, beside and renamed, if --out asks for it"
    whole = dict(machine=machine(), versions=versions(), command=command(), **more, figures=figures)
    for k in 'machine', *more: print(f'{k}: {whole[k]}')
    width = max(len(f['name']) for f in figures)
    for f in figures:
        met = f['mark'] is not None and ('reached' if (f['value'] >= f['mark']) == (f['better'] == 'higher') or f['value'] == f['mark'] else 'NOT REACHED')
        mark = f"   mark {'≥' if f['better'] == 'higher' else '≤'} {f['mark']:g}: {met}" if met else ''
        print(f"{f['name']:<{width}}  {f['value']:>9,.6g} {f['unit']:<24} {f['spread'][0]:,.6g} to {f['spread'][1]:,.6g} in {f['rounds']}{mark}")
    if args.out:
        new = Path(f'{args.out}.new')
        new.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
        os.replace(new, args.out)
