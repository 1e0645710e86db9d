"The docs: every page whole, every link alive, every name found, on a screen and on a telephone."
import json, re
from html.parser import HTMLParser
from importlib import import_module
from os.path import normpath
from pathlib import Path
import pytest
from axe_playwright_python.sync_playwright import Axe
from make_site import entries, front, make_site, markdown, notebooks, options, processed, root, sidebar, text
from test_package import modules

@pytest.fixture(scope='module')
def pages(): return processed()

@pytest.fixture(scope='module')
def site(pages, tmp_path_factory): return make_site(tmp_path_factory.mktemp('site'), pages)

names = sorted(notebooks(root/'nbs'))
every_page = pytest.mark.parametrize('name', names)

class Html(HTMLParser):
    "Ids, links, and pictures (address, alt) of a page"
    def __init__(self, path):
        super().__init__()
        self.ids,self.links,self.pictures = set(), [], []
        self.feed(path.read_text('utf-8'))
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if 'id' in attrs: self.ids.add(attrs['id'])
        if tag == 'a' and 'href' in attrs: self.links.append(attrs['href'])
        if tag == 'img': self.pictures.append((attrs['src'], attrs.get('alt')))

def visible(nb):
    "(options, code, outputs) of the code cells of a processed page"
    for c in nb['cells']:
        if c['cell_type'] == 'code': yield *options(text(c)), c['outputs']

def said(out): return ''.join(out.get('text', '') or out.get('data', {}).get('text/plain', ''))

@every_page
def test_title(pages, name):
    "The title's own cell holds nothing else, for nbdev would drop it; Quarto gets both of its lines."
    title = next(c for c in json.loads((root/'nbs'/name).read_text('utf-8'))['cells'] if c['cell_type'] == 'markdown')
    lines = [l for l in text(title).splitlines() if l.strip()]
    assert len(lines) == 2 and lines[0].startswith('# ') and lines[1].startswith('> ')
    assert (front(pages[name])['title'], front(pages[name])['description']) == (lines[0][2:], lines[1][2:])
    assert not any('execution' in c['metadata'] for c in pages[name]['cells'])  # Quarto would hide the names from the contents

def plain(markdown): return ' '.join(re.sub(r'\[(`?[^\]]*?`?)\]\([^)\s]*\)', r'\1', markdown).split())

@every_page
def test_nothing_is_lost(pages, name):
    "Every paragraph of a notebook, but the title's, is in its page."
    page = plain('\n\n'.join(text(c) for c in pages[name]['cells'] if c['cell_type'] == 'markdown'))
    cells = [text(c) for c in json.loads((root/'nbs'/name).read_text('utf-8'))['cells'] if c['cell_type'] == 'markdown']
    paragraphs = [p for c in cells if not c.startswith('#|') for p in re.split(r'\n\s*\n', c)]
    for p in paragraphs[2:]: assert plain(p) in page, p

@every_page
def test_links(site, name):
    "Every link within the site leads to a page and a heading, every picture is there and says what it shows."
    page = Html(site[name])
    for url,alt in page.pictures: assert alt and (url.startswith(('https://', 'data:')) or (site[name].parent/url).is_file()), url
    for url in page.links:
        if re.match(r'(https?|mailto):', url): continue
        file,_,anchor = url.partition('#')
        target = Path(normpath(site[name].parent/file)) if file else site[name]
        assert target.is_file(), url
        assert not anchor or anchor in Html(target).ids, url

@every_page
def test_code(pages, name):
    "Lines fit the column; a page shows ideas and results, not its tests, and no result is a bare Python value."
    tests = []
    for i,(opts,code,outs) in enumerate(visible(pages[name])):
        signature = '\n'.join(''.join(o.get('data', {}).get('text/markdown', '')) for o in outs if opts.get('output') == 'asis')
        fences = '\n'.join(re.findall(r'^```python\n(.*?)^```', signature, re.M | re.S))
        assert not [l for l in code.splitlines() if len(l) > 100] or not opts.get('echo', True), code
        assert not [l for l in fences.splitlines() if len(l) > 120], fences  # nbdev spells out the types; these lines wrap
        assert '__main__' not in signature and signature.count('NoneType=None') < 2, signature
        if opts.get('echo', True): tests += [i] if re.search(r'^\s*(assert|test_\w+\(|with expect_fail)', code, re.M) else []
        for o in outs:
            assert o['output_type'] != 'error' and o.get('name') != 'stderr', code
            if 'data' in o and not {'text/html', 'text/markdown', 'image/png'} & set(o['data']): assert not re.match(r'[\[({]|array|tensor|dict_', said(o)), said(o)
            if 'text/html' in o.get('data', {}): assert '<td>NaN</td>' not in ''.join(o['data']['text/html']), code
            if 'image/png' in o.get('data', {}): assert opts.get('fig-alt'), code
    assert len(tests) <= 3, f'{len(tests)} visible cells hold assertions'

@every_page
def test_has_its_place(name):
    "Every page is in the sidebar, under a title of one to four words."
    found = [t for t,f in sidebar() if f == name]
    assert len(found) == 1 and (found[0] is None or len(found[0].split()) <= 4)

def public(module):
    "Names of `cifar_oc.<module>` that `import *` gives"
    return import_module(f'cifar_oc.{module}').__all__

def test_api_has_every_name(pages):
    listed = set(re.findall(r'^\| \[([\w.]+)\]', markdown(pages['api.ipynb'], Path()), re.M))
    wanted = {n for p in modules if p.stem != 'all' for n in public(p.stem)}
    assert wanted <= listed and {'Learner.find_lrs', 'Learner.fit_course', 'Run.predict', 'Run.export', 'Run.resume'} <= listed, wanted - listed

def test_every_name_has_a_line(pages):
    empty = re.findall(r'^\| \[([\w.]+)\]\S* \|\s*\|$', markdown(pages['api.ipynb'], Path()), re.M)
    assert not empty

@pytest.mark.parametrize('width', [1280, 400])
def test_in_a_browser(site, chromium, width):
    "Nothing is wider than the page, everyone can use it, and the console is silent."
    seen,axe = [],Axe()
    page = chromium.new_page(viewport=dict(width=width, height=800))
    page.on('console', lambda m: seen.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: seen.append(str(e)))
    for name,file in site.items():
        page.goto(file.as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f'{name} is {wide} pixels too wide'
        bad = [(o['id'], n['html'][:200]) for o in axe.run(page, options=dict(preload=False)).response['violations'] if o['impact'] in ('serious', 'critical') for n in o['nodes'][:2]]
        assert not bad, (name, bad)
        assert not seen, (name, seen)
    page.close()
