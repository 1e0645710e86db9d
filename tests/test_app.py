"The page of a run in a real browser, the Space that is written of it, and the command that opens both."
import base64, io, os, re, shutil, signal, socket, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from conftest import finish, start, start_new, write_pictures
pytest.importorskip('gradio', reason="the page needs Gradio: pip install 'cifar_oc[app]'")
from playwright.sync_api import expect

# a process with this beside it writes down what it asks of the network, and gets nothing
offline = '''
import os, socket
def local(a): return not isinstance(a, (tuple, str)) or (a if isinstance(a, str) else a[0]) in ('127.0.0.1', 'localhost', '::1', '0.0.0.0', '')
def refuse(what):
    with open(os.environ['ASKED'], 'a') as f: print(what, file=f)
    raise OSError('no network')
def guard(f, where):
    def g(*args, **kwargs): return f(*args, **kwargs) if local(args[where]) else refuse(args[where])
    return g
socket.getaddrinfo = guard(socket.getaddrinfo, 0)
socket.socket.connect = guard(socket.socket.connect, 1)
'''

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A run on few pictures, which lie beside it"
    from cifar_oc.train import train
    work = tmp_path_factory.mktemp('app')
    pics = write_pictures(work/'pictures', n_train=60, n_test=40)
    train(pics, 'quick', epochs=1, bs=20, lr_min=1e-4, lr_max=1e-3, precision='fp32', seed=0, out=work/'run', report=False)
    return work/'run'

@pytest.fixture(scope='module')
def run(folder):
    from cifar_oc.predict import Run
    return Run(folder)

@pytest.fixture(scope='module')
def files(tmp_path_factory, run):
    "Pictures of every kind, by the name of the kind"
    rng,d = np.random.default_rng(0), tmp_path_factory.mktemp('files')
    def noise(*shape): return rng.integers(0, 256, shape, np.uint8).repeat(9, 0).repeat(9, 1)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise(5,9,3)).save(d/'turned.jpg', exif=exif)
    Image.fromarray(noise(9,5,4)).save(d/'alpha.png')
    Image.fromarray(noise(6,6).astype(np.uint16)*257).save(d/'deep.png')
    Image.fromarray(noise(4,8,3)).quantize(8).save(d/'palette.gif')
    Image.fromarray(noise(8,4,3)).save(d/'tall.tiff')
    Image.fromarray(noise(7,7,3)).convert('CMYK').save(d/'cmyk.jpg')
    shutil.copy(next(Path(run.config.source).glob('test/*/*.png')), d/'plain.png')
    return {f.name: f for f in sorted(d.iterdir())}

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def wait_for(url, process):
    for _ in range(1200):
        if process.poll() is not None: pytest.fail(f'it ended: {finish(process)}')
        try: return socket.create_connection(('127.0.0.1', int(url.rsplit(':')[-1].strip('/'))), .1).close()
        except OSError: pass
        time.sleep(.1)
    pytest.fail('no page in two minutes')

@pytest.fixture(scope='module')
def guarded(tmp_path_factory):
    "An environment whose processes have no network, and the file of what they asked of it"
    d = tmp_path_factory.mktemp('offline')
    (d/'sitecustomize.py').write_text(offline)
    path = os.pathsep.join(filter(None, [str(d), str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH')]))
    env = {k: v for k,v in os.environ.items() if not k.startswith('GRADIO')}
    return env | dict(PYTHONPATH=path, ASKED=str(d/'asked')), d/'asked'

@pytest.fixture(scope='module')
def page_url(folder, guarded):
    "The address of the page that `cifar-oc-app` opens; at Ctrl-C it says one line, and has asked nothing of the network"
    port = free_port()
    process = start_new(folder, '--port', port, name='app', env=guarded[0])
    try:
        line = process.stdout.readline()
        assert line == f'open http://127.0.0.1:{port}/ in a browser; Ctrl-C closes it\n', finish(process)
        yield f'http://127.0.0.1:{port}/'
        process.send_signal(signal.SIGINT)
        assert finish(process)[:2] == (0, 'closed\n')
    finally: process.kill()
    assert not guarded[1].exists(), guarded[1].read_text()

@pytest.fixture
def opened(chromium, page_url):
    "A function that opens the page; in the end the browser has asked only the page's own address, and no script failed"
    seen,contexts = [],[]
    def open_page(url=page_url, width=1200):
        contexts.append(chromium.new_context(viewport=dict(width=width, height=900)))
        page = contexts[-1].new_page()
        page.on('pageerror', lambda e: seen.append(str(e)))
        page.on('request', lambda r: None if r.url.startswith((url, 'data:', 'blob:')) else seen.append(r.url))
        page.goto(url)
        page.wait_for_selector('input[type=file]', state='attached')
        return page
    yield open_page
    for c in contexts: c.close()
    assert seen == []

def bars(page):
    "Names and percentages on the page"
    return [(re.sub(r'\s+', ' ', o.inner_text()).strip()) for o in page.locator('.confidence-set').all()]

def expected(run, file, k=5):
    row = run.predict(file, k=k).iloc[0, 1:].tolist()
    return [f'{name} {p:.0%}' for name,p in zip(row[::2], row[1::2])]

def overlay(page):
    "The pixels of the Grad-CAM overlay"
    src = page.get_by_alt_text('Grad-CAM over the picture').get_attribute('src')
    return np.asarray(Image.open(io.BytesIO(page.request.get(src).body())).convert('RGB'))

def give(page, file):
    "Choose `file`, and wait for its classes"
    if page.get_by_label('Remove Image').count(): page.get_by_label('Remove Image').click()
    expect(page.locator('.confidence-set')).to_have_count(0)
    page.set_input_files('input[type=file]', file)
    page.wait_for_selector('.confidence-set')
    page.wait_for_selector('img[alt="Grad-CAM over the picture"]')

def close_to(found, want):
    "Whether names are the same and whole percentages differ by no more than their rounding"
    split = [[o.rsplit(' ', 1) for o in l] for l in (found, want)]
    return len(found) == len(want) and all(a == b and abs(int(p[:-1]) - int(q[:-1])) <= 1 for (a,p),(b,q) in zip(*split))

def test_a_chosen_picture_is_named_as_by_predict(opened, run, files):
    page = opened()
    for file in files.values():
        give(page, file)
        assert close_to(bars(page), expected(run, file)), file
        assert page.get_by_test_id('label-output-value').inner_text() == run.predict(file)['class'][0]

def test_a_dropped_picture(opened, run, files):
    page,file = opened(), files['alpha.png']
    data = page.evaluate_handle('''b => { const t = new DataTransfer();
        t.items.add(new File([Uint8Array.from(atob(b), c => c.charCodeAt(0))], 'alpha.png', {type: 'image/png'}));
        return t }''', base64.b64encode(file.read_bytes()).decode())
    page.get_by_role('button', name='Drop').first.dispatch_event('drop', dict(dataTransfer=data))
    page.wait_for_selector('.confidence-set')
    assert close_to(bars(page), expected(run, file))

def test_same_probabilities(page_url, run, files):
    from gradio_client import Client, handle_file
    client = Client(page_url, verbose=False, analytics_enabled=False)
    for file in files.values():
        found = client.predict(handle_file(file), 10, 1, 'layer2', api_name='/look')[0]
        found = {o['label']: o['confidence'] for o in found['confidences']}
        want = run.probabilities(file).iloc[0]
        assert list(found) == want.sort_values(ascending=False, kind='stable').index.tolist()
        assert max(abs(p - want[k]) for k,p in found.items()) < 1e-6

def test_number_of_classes(opened, files):
    page = opened()
    give(page, files['plain.png'])
    for k in 10, 2:
        page.get_by_label('number input for Classes shown').fill(str(k))
        expect(page.locator('.confidence-set')).to_have_count(k)

def test_opacity_and_layer(opened, run, files):
    from cifar_oc.app import cam_layers, cam_over
    from cifar_oc.pictures import to_picture
    page,net,pic = opened(), run.predictor(), to_picture(files['turned.jpg'])
    layers,default = cam_layers(net)
    give(page, files['turned.jpg'])
    assert page.get_by_label('Layer of Grad-CAM').input_value() == default
    def shows(layer, opacity):
        want = cam_over(net, pic, layer, opacity).astype(int)
        for _ in range(50):
            if np.abs(overlay(page) - want).max() <= 2: return True
            page.wait_for_timeout(100)
    assert shows(default, 1)
    for opacity in 0, .5:
        page.get_by_label('number input for Opacity of Grad-CAM').fill(str(opacity))
        assert shows(default, opacity)
    for layer in layers:
        page.get_by_label('Layer of Grad-CAM').click()
        page.get_by_role('option', name=layer, exact=True).click()
        assert shows(layer, .5), layer
    page.get_by_label('Layer of Grad-CAM').click()
    assert page.get_by_role('option').count() == len(layers)

@pytest.mark.parametrize('name,says', [('broken.png', 'cannot be read as a picture'), ('cut.jpg', 'cannot be read as a picture'), ('<b>.png', 'cannot be read as a picture'), ('float.tiff', 'what is white is not known')])
def test_what_is_no_picture_is_one_line(opened, files, tmp_path, name, says):
    page,file = opened(), tmp_path/name
    give(page, files['plain.png'])
    if name == 'float.tiff': Image.fromarray(np.ones((8,8), np.float32)).save(file)
    elif name == 'cut.jpg': file.write_bytes(files['turned.jpg'].read_bytes()[:300])
    else: file.write_text('no picture')
    page.get_by_label('Remove Image').click()
    page.set_input_files('input[type=file]', file)
    line = page.get_by_test_id('toast-body').inner_text()
    assert says in line and 'Traceback' not in line and 'gradio' not in line
    assert page.locator('.confidence-set').count() == 0
    page.reload()
    give(page, files['plain.png'])  # the page goes on

def mistakes_of(run):
    from cifar_oc.interpret import CachedInterpretation
    learn = run.learner()
    with learn.no_bar(): interp = CachedInterpretation.from_learner(learn)
    return interp, interp.misclassified()

def captions(df): return [f'{r.predicted} {r.confidence:.0%} is {r.actual}' for r in df.itertuples()]

def shown(page): return [' '.join(o.split()) for o in page.locator('li:has(img)').all_inner_texts()]

def test_gallery(opened, run):
    page,(interp,df) = opened(), mistakes_of(run)
    page.get_by_role('tab', name='Misclassified pictures').click()
    page.wait_for_selector('li img')
    assert len(df) > 20 and shown(page) == captions(df.head(20))
    assert f'{len(df)} of 40 validation pictures are misclassified' in page.inner_text('main')
    page.get_by_label('number input for Pictures shown').fill('3')
    expect(page.locator('li:has(img)')).to_have_count(3)
    for li,want in zip(page.locator('li img').all(), interp.pictures(df['item'][:3])):
        data = base64.b64decode(li.get_attribute('src').partition(',')[2])
        assert (np.asarray(Image.open(io.BytesIO(data))) == want).all()

def test_controls_have_names(opened, files):
    page = opened()
    give(page, files['plain.png'])
    page.get_by_role('tab', name='Misclassified pictures').click()
    page.wait_for_selector('li img')
    for tab in 'Classify a picture', 'Misclassified pictures':
        page.get_by_role('tab', name=tab).click()
        page.wait_for_timeout(300)
        tree = page.locator('[role=tabpanel]:visible').aria_snapshot().splitlines()
        unnamed = r'\s*- (button|slider|spinbutton|combobox|listbox|textbox|tab)\b(?! ")'
        assert len(tree) > 10 and [o for o in tree if re.match(unnamed, o)] == [], tab
    for name in 'Opacity of Grad-CAM', 'Classes shown', 'Pictures shown':
        assert page.get_by_label(f'range slider for {name}').count() == 1

@pytest.mark.parametrize('width', [360, 400, 1200])
def test_nothing_beside_the_page(opened, files, width):
    page = opened(width=width)
    give(page, files['plain.png'])
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    page.get_by_role('tab', name='Misclassified pictures').click()
    page.wait_for_selector('li img')
    assert page.evaluate('document.documentElement.scrollWidth') <= width

@pytest.fixture
def refused(monkeypatch, capfd):
    "A function that calls the command, which must end in status 2 and one line that says `says`"
    def call(says, *args):
        from cifar_oc.cli import app_command
        monkeypatch.setattr(sys, 'argv', ['cifar-oc-app', *map(str, args)])
        with pytest.raises(SystemExit) as e: app_command()
        out,err = capfd.readouterr()
        assert (e.value.code, out) == (2, '') and says in err and len(err.splitlines()) == 1, err
    return call

@pytest.fixture(scope='module')
def space(folder, tmp_path_factory):
    "What `--space` writes"
    out = tmp_path_factory.mktemp('space')/'new'
    status,said,err = finish(start(folder, '--space', out, name='app'))
    assert status == 0 and said.startswith(f'wrote {out}; hf upload'), err
    return out

def test_space_in_a_new_process(space, guarded, opened, run, files, tmp_path):
    import gradio
    from cifar_oc import __version__
    head = (space/'README.md').read_text().split('---')[1]
    assert f'sdk: "gradio"\nsdk_version: "{gradio.__version__}"' in head and 'app_file: "app.py"' in head
    assert (space/'requirements.txt').read_text() == f'cifar_oc=={__version__}\n'
    moved = shutil.copytree(space, tmp_path/'elsewhere')
    port = free_port()
    env = guarded[0] | dict(GRADIO_SERVER_PORT=str(port), GRADIO_ANALYTICS_ENABLED='True')
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen([sys.executable, str(moved/'app.py')], env=env, cwd='/', **pipes)
    try:
        wait_for(url := f'http://127.0.0.1:{port}/', process)
        page = opened(url)
        give(page, files['deep.png'])
        assert close_to(bars(page), expected(run, files['deep.png']))
        page.get_by_role('tab', name='Misclassified pictures').click()
        page.wait_for_selector('li img')
        assert shown(page) == captions(mistakes_of(run)[1].head(20))
    finally: process.kill()
    finish(process)
    assert not guarded[1].exists(), guarded[1].read_text()

def test_space_without_the_data(folder, tmp_path, capfd):
    "It is written, and it says why it has no misclassified pictures"
    from cifar_oc.app import read_mistakes, write_space
    from cifar_oc.predict import Run
    with pytest.warns(UserWarning, match='no misclassified pictures: .*nowhere does not exist'):
        space = write_space(Run(folder), tmp_path/'space', source=tmp_path/'nowhere')
    assert not (space/'mistakes.json').exists() and (space/'model.safetensors').exists()
    with pytest.raises(FileNotFoundError, match='--space'): read_mistakes(Run(space))
    (space/'mistakes.json').write_text('{"rows": 3}')
    with pytest.raises(ValueError, match='damaged'): read_mistakes(Run(space))

def test_bad_input_is_one_line(folder, tmp_path, refused):
    (tmp_path/'old').mkdir()
    (tmp_path/'old'/'notes.txt').write_text('mine')
    refused('nothing is written over', folder, '--space', tmp_path/'old')
    assert [o.name for o in (tmp_path/'old').iterdir()] == ['notes.txt']
    refused('nothing is written over', folder, '--space', tmp_path/'old'/'notes.txt')
    refused('is no run folder', tmp_path)
    refused('give 1 to 65535', folder, '--port', 70000)
    refused('does not go with --space', folder, '--space', 'x', '--port', 80)
    refused('space is empty', folder, '--space', '')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        refused(f'port {s.getsockname()[1]} cannot be opened', folder, '--port', s.getsockname()[1])

def test_without_gradio(folder, tmp_path, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    refused("pip install 'cifar_oc[app]'", folder)
    refused("pip install 'cifar_oc[app]'", folder, '--space', tmp_path/'space')
    assert not list(tmp_path.iterdir())

def test_light():
    "`--help` imports nothing heavy, and the module asks for Gradio only when a page is made"
    code = ('import sys; sys.argv = ["x", "--help"]\nfrom cifar_oc.cli import app_command\ntry: app_command()\nexcept SystemExit: pass\n'
            'print({"torch","fastai","gradio","numpy"} & set(sys.modules))\nimport cifar_oc.app\nprint("gradio" in sys.modules)')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert out.endswith('set()\nFalse\n')
