"Pictures, a cache and a command line that the tests share; nothing here reaches the network or the user's own cache."
import os, shutil, signal, subprocess, sys
from collections import Counter
from pathlib import Path
import pytest
from PIL import Image
from cifar_oc.data import demo_cifar10

os.environ.update(NO_ALBUMENTATIONS_UPDATE='1', MPLBACKEND='Agg', PYTHONUTF8='1')
os.environ.setdefault('OMP_NUM_THREADS', '1')  # test processes run side by side
os.environ.pop('CIFAR_OC_DATA', None)
# a shell starts `command &` with Ctrl-C ignored, and what the tests start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

figures = Counter()  # (fault, phase, 'tried' or 'survived'): how many, in test_faults.py
notes = []          # lines for the summary

def pytest_addoption(parser): parser.addoption('--slow', action='store_true', help='the tests marked slow too')

def pytest_configure(config): config.addinivalue_line('markers', 'slow: takes minutes; runs with --slow only')

def pytest_collection_modifyitems(config, items):
    slow = [] if config.getoption('slow') else [o for o in items if o.get_closest_marker('slow')]
    items[:] = [o for o in items if o not in slow]
    config.hook.pytest_deselected(items=slow)

def pytest_sessionfinish(session):
    "A worker of pytest-xdist sends what it counted"
    if hasattr(session.config, 'workeroutput'): session.config.workeroutput.update(figures=list(figures.items()), notes=notes)

@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    "Add what a worker counted; a worker that crashed has sent nothing"
    sent = getattr(node, 'workeroutput', {})
    figures.update(dict(sent.get('figures', [])))
    notes.extend(sent.get('notes', []))

def pytest_terminal_summary(terminalreporter):
    "Faults tried and survived, a line a kind; `notes`."
    for fault in dict.fromkeys(k[0] for k in figures):
        tried,survived = ({k[1]: n for k,n in figures.items() if k[0] == fault and k[2] == o} for o in ('tried', 'survived'))
        by_phase = ', '.join(f'{phase} {survived.get(phase, 0)} of {n}' for phase,n in tried.items())
        terminalreporter.write_line(f'{fault}: {sum(survived.values())} of {sum(tried.values())} survived: {by_phase}')
    for line in notes: terminalreporter.write_line(line)

@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory):
    os.environ['XDG_CACHE_HOME'] = str(tmp_path_factory.mktemp('cache'))

def write_pictures(folder, n_train=40, n_test=20):
    "Demo pictures in `folder`, as `train/<class>/*.png` and `test/<class>/*.png`."
    ds = demo_cifar10(n_train=n_train, n_test=n_test)
    for split,xs,ys in ('train', ds.train_x, ds.train_y), ('test', ds.test_x, ds.test_y):
        for i,(x,y) in enumerate(zip(xs, ys)):
            (d := folder/split/ds.vocab[y]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(x).save(d/f'{i}.png')
    return folder

@pytest.fixture(scope='session')
def pictures(tmp_path_factory): return write_pictures(tmp_path_factory.mktemp('pictures'))

def popen(code, args, **kwargs):
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen([sys.executable, '-c', code, *map(str, args)], **pipes, encoding='utf-8', errors='replace', **kwargs)

def start_new(*args, name='train', **kwargs):
    "A new process of `cifar-oc-train`, or of another command by its `name`, with `args`."
    return popen(f'from cifar_oc.cli import {name}_command as f; f()', args, **kwargs)

def start(*args, name='train', **kwargs):
    "As `start_new`, but forked where that is safe, which saves the imports; it knows the recipe `small`."
    from forked import Forked, command, forks  # late, for it imports everything
    if forks: return Forked(command, name, *map(str, args), **kwargs)
    return popen(f'import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from forked import command; command({name!r}, *sys.argv[1:])', args, **kwargs)

def finish(process):
    "Exit status, stdout and stderr of `process`, once it has ended."
    out,err = process.communicate(timeout=600)
    return process.returncode, out, err

@pytest.fixture(scope='module')
def chromium():
    "A browser without a window, for all tests of a module."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        own = p.chromium.executable_path
        path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', own))), None)
        if not path: pytest.skip('no Chromium is installed: apt-get install chromium, or playwright install chromium')
        browser = p.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield browser
        browser.close()
