"Pictures, a cache and a command line that the tests share; nothing here reaches the network or the user's own cache."
import os, subprocess, sys
import pytest
from PIL import Image
from cifar_oc.data import demo_cifar10

os.environ.update(NO_ALBUMENTATIONS_UPDATE='1', MPLBACKEND='Agg', PYTHONUTF8='1')
os.environ.pop('CIFAR_OC_DATA', None)

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

def start(*args, name='train', **kwargs):
    "A process of `cifar-oc-train`, or of another command by its `name`, with `args`."
    cmd = [sys.executable, '-c', f'from cifar_oc.cli import {name}_command as f; f()', *map(str, args)]
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen(cmd, **pipes, encoding='utf-8', errors='replace', **kwargs)

def finish(process):
    "Exit status, stdout and stderr of `process`, once it has ended."
    out,err = process.communicate(timeout=600)
    return process.returncode, out, err
