"The package as a whole: its names, its sizes, what its metadata say."
import ast, importlib.metadata as md, json, re
from collections import Counter
from configparser import ConfigParser
from pathlib import Path
import pytest
import cifar_oc

root = Path(__file__).parents[1]
modules = sorted(p for p in (root/'cifar_oc').glob('*.py') if not p.name.startswith('_'))
notebooks = sorted(p for p in (root/'nbs').rglob('*.ipynb') if not re.search(r'/[_.]', p.relative_to(root).as_posix()))

def test_names():
    names = {}
    exec('from cifar_oc.all import *', names)
    assert {'load_cifar10', 'cifar_dls', 'CustomResNet', 'cifar_learner', 'train', 'DataBlock', 'Learner'} <= names.keys()
    assert all(callable(getattr(names['Learner'], o)) for o in ('find_lrs', 'fit_course', 'lr_find', 'report'))

def defined(path):
    "Public names that the module at `path` defines itself."
    for o in ast.parse(path.read_text('utf-8')).body:
        if isinstance(o, (ast.FunctionDef, ast.ClassDef)): yield o.name
        if isinstance(o, ast.Assign): yield from (n.id for t in o.targets for n in ast.walk(t) if isinstance(n, ast.Name))

def test_no_name_twice():
    counts = Counter(n for p in modules for n in set(defined(p)) if not n.startswith('_'))
    assert len(counts) > 20
    assert not [n for n,c in counts.items() if c > 1]

@pytest.mark.parametrize('path', modules, ids=lambda p: p.name)
def test_module_size(path): assert len(path.read_text('utf-8').splitlines()) < 250

@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.name)
def test_cell_size(path):
    for cell in json.loads(path.read_text('utf-8'))['cells']:
        src = ''.join(cell['source'])
        if cell['cell_type'] == 'code' and re.search(r'^#\|\s*exporti?\b', src, re.M):
            lines = [l for l in src.splitlines() if l.strip() and not l.startswith('#|')]
            assert len(lines) <= 30, lines[0]

def long_lines(nb, most=100):
    "Lines over `most` characters in code that is shown or exported; hidden cells are free."
    for i,cell in enumerate(nb['cells']):
        src = ''.join(cell['source'])
        marks = set(re.findall(r'^#\|\s*(\w+)', src, re.M))
        if cell['cell_type'] != 'code' or 'hide' in marks and not marks & {'export', 'exporti'}: continue
        lines = [l for l in src.splitlines() if not l.startswith('#| fig-alt: ')]  # not shown, but said
        yield from (f'cell {i}: {len(l)} characters: {l}' for l in lines if len(l) > most)

@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.name)
def test_line_length(path):
    found = list(long_lines(json.loads(path.read_text('utf-8'))))
    assert not found, '\n'.join([f'{path.relative_to(root)}, lines of at most 100 characters:', *found])

def test_line_length_is_seen():
    def found(src, kind='code'): return len([*long_lines(dict(cells=[dict(cell_type=kind, source=[src])]))])
    assert (found('x'*101), found('é'*100), found('x'*101, 'markdown')) == (1, 0, 0)
    assert (found('#| hide\n' + 'x'*101), found('#|hide\n' + 'x'*101)) == (0, 0)
    assert (found('#| export\n#| hide\n' + 'x'*101), found('#| echo: false\n' + 'x'*101)) == (1, 1)
    assert (found('#| fig-alt: ' + 'x'*101), found('#| fig-alt: x\n' + 'x'*101)) == (0, 1)

def test_every_module_has_its_notebook():
    named = {m[1] for p in notebooks for m in [re.search(r'#\|\s*default_exp (\w+)', p.read_text('utf-8'))] if m}
    assert {p.stem for p in modules} == named | {'all'}

def test_metadata():
    dist = next(d for d in md.distributions(name='cifar_oc') if d.read_text('WHEEL'))  # not a build's leftovers
    needs = ConfigParser()
    needs.read(root/'settings.ini', encoding='utf-8')
    extras = {k.removesuffix('_requirements'): v.split() for k,v in needs['DEFAULT'].items() if k.endswith('_requirements')}
    extras['dev'] = sum(extras.values(), []) # developers install all extras
    plain = {o for o in dist.requires if 'extra' not in o}
    assert plain == set(needs['DEFAULT']['requirements'].split())
    assert {'dev', 'export', 'hub', 'app', 'dask', 'distributed'} <= extras.keys()
    assert {o for o in dist.requires if 'extra' in o} == {f'{o}; extra == "{k}"' for k,v in extras.items() for o in v}
    assert dist.version == cifar_oc.__version__
    scripts = {o.name: o.value for o in dist.entry_points.select(group='console_scripts')}
    assert scripts == {f'cifar-oc-{o}': f'cifar_oc.cli:{o}_command' for o in ('train', 'report', 'recipes', 'bench', 'predict', 'export', 'app')}
