"The report in a real browser: what it shows, what it answers to clicks and keys, and whether everyone can use it."
import io, itertools
from collections import OrderedDict
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from axe_playwright_python.sync_playwright import Axe

hostile = '<script>alert(1)</script>'

def small_learner():
    "A learner of a tiny network after one epoch on demo pictures, one class of which has a hostile name."
    from cifar_oc.all import cifar_dls, cifar_learner, conv_bn, demo_cifar10, nn, set_seed
    ds = demo_cifar10(n_train=128, n_test=400)
    ds.vocab[3] = hostile
    set_seed(0)
    net = nn.Sequential(OrderedDict(prep=conv_bn(3, 8), layer1=conv_bn(8, 16, pool=True), layer2=conv_bn(16, 16, pool=True), flat=nn.Flatten(), fc=nn.Linear(1024, 10)))
    learn = cifar_learner(cifar_dls(ds, bs=32), model=net)
    with learn.no_bar(), learn.no_logging(): learn.fit_course(1, (1e-4, 1e-3))
    return learn, ds

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "The page, the pictures, and the predictions made once more."
    from cifar_oc.interpret import CachedInterpretation
    learn,ds = small_learner()
    with learn.no_bar(): return learn.report(tmp_path_factory.mktemp('report'), n_cams=5), ds, CachedInterpretation.from_learner(learn)

class Seen(list):
    "What a page should not do: messages, errors, dialogs, requests."
    def watch(self, page, url):
        page.on('console', lambda m: self.append(m.text))
        page.on('pageerror', lambda e: self.append(str(e)))
        page.on('dialog', lambda d: (self.append('dialog'), d.dismiss()))
        page.on('request', lambda r: None if r.url == url or r.url.startswith('data:') else self.append(r.url))

@pytest.fixture
def opened(chromium, made):
    "A function that opens the report (or another page) and gives the page; in the end nothing unwanted may have happened."
    seen,contexts = Seen(),[]
    def open_page(path=made[0], width=1400, height=900, **kwargs):
        contexts.append(chromium.new_context(viewport=dict(width=width, height=height), **kwargs))
        page = contexts[-1].new_page()
        seen.watch(page, Path(path).as_uri())
        page.goto(Path(path).as_uri())
        return page
    yield open_page
    assert seen == []
    for c in contexts: c.close()

def items(page): return page.eval_on_selector_all('#gallery li', 'l => l.map(o => +o.dataset.item)')

def cell(page, a, p): return page.locator(f'#matrix button[data-actual="{a}"][data-predicted="{p}"]')

def expected(interp, a, p):
    "Row numbers of the pictures that a cell must show: all, the surest first, or the 20 least sure of the right ones."
    conf,pred = interp.preds.max(1)
    found = [i for i in range(len(pred)) if interp.targs[i] == a and pred[i] == p]
    found.sort(key=lambda i: float(conf[i]), reverse=a != p)
    return found if a != p else found[:20]

def test_opens(opened, made):
    page,n = opened(),len(made[2].misclassified())
    assert page.text_content('h1') == 'Report' and n > 50
    assert page.text_content('#status') == f'{n} mistakes'
    assert items(page) == made[2].misclassified()['item'].tolist()
    assert page.evaluate('document.fonts.size') == 0 and page.locator('script, link, iframe').count() == 2

def test_every_cell_shows_its_pictures(opened, made):
    page,cm,shown = opened(),made[2].confusion_matrix(),0
    for a,p in itertools.product(range(10), repeat=2):
        c = cell(page, a, p)
        assert c.text_content() == str(cm[a][p])
        c.click()
        want = expected(made[2], a, p)
        assert sorted(items(page)) == sorted(want) and len(want) == (cm[a][p] if a != p else min(20, cm[a][p]))
        assert page.eval_on_selector_all('[aria-pressed=true]', 'l => l.length') == 1 and c.get_attribute('aria-pressed') == 'true'
        shown += bool(want)
    assert shown > 20

def test_pictures_are_the_right_ones(opened, made):
    "What is on the screen is what is in the data, pixel for pixel (the sprite of a small page has no loss)."
    page = opened()
    a,p = next((a, p) for a,p in zip(*np.where(made[2].confusion_matrix())) if a != p)
    cell(page, a, p).click()
    for li in page.locator('#gallery li').all()[:6]:
        shot = Image.open(io.BytesIO(li.locator('.pic').first.screenshot())).convert('RGB').resize((32, 32), Image.NEAREST)
        want = made[1].test_x[int(li.get_attribute('data-item'))].astype(int)
        assert np.abs(np.asarray(shot, int) - want)[2:-2, 2:-2].max() <= 2  # its corners are round

def test_keyboard(opened, made):
    page = opened()
    for _ in range(30):
        page.keyboard.press('Tab')
        if page.evaluate('document.activeElement.matches("#matrix button")'): break
    for key in 'ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowUp', 'ArrowUp', 'ArrowDown': page.keyboard.press(key)
    for key in 'Enter', 'Space':
        page.keyboard.press('ArrowRight')
        page.keyboard.press(key)
        a,p = (int(page.evaluate(f'document.activeElement.dataset.{o}')) for o in ('actual', 'predicted'))
        assert (a, p) == (1, 3 if key == 'Enter' else 4)
        assert sorted(items(page)) == sorted(expected(made[2], a, p))
    page.keyboard.press('Tab')  # one stop for the whole matrix
    assert not page.evaluate('document.activeElement.matches("#matrix button")')

def test_filters_and_sorting(opened, made):
    page,df,interp = opened(),made[2].misclassified(),made[2]
    vocab = [str(o) for o in interp.vocab]
    for side in 'actual', 'predicted':
        name = df[side].value_counts().index[0]
        page.select_option(f'[name={side}]', str(vocab.index(name)))
        assert sorted(items(page)) == sorted(df['item'][df[side] == name]) and len(items(page)) < len(df)
        page.click('#all')
        assert sorted(items(page)) == sorted(df['item'])
    for o,scale in ('confidence', 100), ('loss', 1):
        low,high = (round(float(q)*scale, 2) + .00005 for q in df[o].quantile([.3, .7]))
        page.fill(f'[name={o[:4]}0]', str(low))
        page.fill(f'[name={o[:4]}1]', str(high))
        want = df[(df[o].round(5)*scale).between(low, high)]
        assert sorted(items(page)) == sorted(want['item']) and 0 < len(want) < len(df)
        assert page.text_content('#status').startswith(f'{len(want)} mistakes')
        page.click('#all')
    for by,up in itertools.product(('confidence', 'loss'), (1, -1)):
        page.select_option('[name=sort]', f'{by},{up}')
        value = df.set_index('item')[by].round(4 if by == 'loss' else 5)[items(page)].tolist()
        assert len(value) == len(df) and value == sorted(value, reverse=up < 0)

def test_grad_cam(opened):
    page = opened()
    assert page.locator('#gallery .pic').count() == page.locator('#gallery li').count() and page.is_hidden('#cam-help')
    page.check('[name=cam]')
    counts = page.eval_on_selector_all('#gallery li', 'l => l.map(o => o.querySelectorAll(".pic").length)')
    assert counts == [3]*5 + [1]*(len(counts) - 5) and page.is_visible('#cam-help')
    shots = [li.screenshot() for li in page.locator('#gallery li:first-child .pic').all()]
    assert len(set(shots)) == 3
    page.uncheck('[name=cam]')
    assert page.locator('#gallery .pic').count() == len(counts)

def test_hostile_name(opened):
    page = opened()
    page.select_option('[name=actual]', '3')
    assert hostile in page.text_content('#status') and page.text_content('#gallery .name') == f'true: {hostile}'
    assert page.locator('script').count() == 2 and hostile in page.text_content('#matrix')

def faults(page): return [(v['id'], v['nodes'][0]['html'][:200]) for v in Axe().run(page).response['violations'] if v['impact'] in ('serious', 'critical')]

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1400, 390])
def test_accessible(opened, width, scheme):
    page = opened(width=width, color_scheme=scheme, bypass_csp=True)
    page.check('[name=cam]')
    cell(page, 0, 1).click()
    assert faults(page) == []

def test_axe_finds_faults(opened):
    page = opened(bypass_csp=True)
    page.evaluate('document.documentElement.removeAttribute("lang")')
    assert [f[0] for f in faults(page)] == ['html-has-lang']

@pytest.mark.parametrize('width', [360, 390, 1400])
def test_nothing_beside_the_page(opened, width):
    assert opened(width=width).evaluate('document.documentElement.scrollWidth') <= width

def test_print(opened):
    page = opened()
    page.emulate_media(media='print')
    assert page.is_hidden('#controls') and page.is_hidden('nav') and page.is_visible('#matrix')
    assert page.pdf()[:4] == b'%PDF'

def test_comparison(opened, tmp_path):
    import json
    from cifar_oc.compare import compare_runs
    for i in range(2):
        (run := tmp_path/f'<b>{i}').mkdir()
        (run/'config.json').write_text(json.dumps(dict(recipe='course', epochs=1, bs=8, lr_min=1e-5, lr_max=1e-3, valid='test', seed=i, data='demo', precision='fp32')))
        (run/'metrics.json').write_text(json.dumps(dict(accuracy=.5 + i/10, loss=1., n=20, seconds=1., machine='<i>')))
        (run/'history.csv').write_text(f'epoch,train_loss,valid_loss,valid_accuracy\n1,1.,1.,{.5 + i/10}\n')
    page = opened(compare_runs(sorted(tmp_path.iterdir()), tmp_path/'both'), bypass_csp=True)
    assert '55.00%' in page.text_content('table') and '7.07 points' in page.text_content('table')
    assert page.locator('b, i').count() == 0 and page.text_content('main').count('<b>') == 2
    assert faults(page) == []
