"""The docs without Quarto, near enough to test and to look at: `python tests/make_site.py DIR`.
nbdev makes the pages, as for Quarto; pandoc makes HTML of them."""
import base64, json, re, shutil, subprocess, sys
from html import escape
from os.path import relpath
from pathlib import Path, PurePosixPath
import pypandoc, yaml

root = Path(__file__).parents[1]
site_url = yaml.safe_load((root/'nbs/nbdev.yml').read_text('utf-8'))['website']['site-url'] + '/'
template = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title$</title>
<style>
body { margin: 0; font: 17px/1.5 system-ui, sans-serif; color: #343a40; }
body > nav { background: #2780e3; padding: .6rem 1rem; }
body > nav a { color: #000; font-size: 1.2rem; margin-right: 1rem; }
#page { display: grid; grid-template-columns: 220px minmax(0, 900px) 200px; gap: 1.5rem; padding: 1rem; }
pre { background: #f5f6f7; padding: .4rem; margin: 0; overflow: auto; }
code { font: .875em/1.5 Menlo, Consolas, 'DejaVu Sans Mono', monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
pre.text code { overflow-wrap: normal; white-space: pre; }
table { font-size: .9em; border-collapse: collapse; margin-bottom: 1rem; }
td, th { padding: .25rem .5rem; border: 0; border-bottom: 1px solid #dee2e6; text-align: left; vertical-align: top; }
aside { font-size: .85rem; }
aside ul { padding-left: .8rem; list-style: none; }
aside a { overflow-wrap: anywhere; }
@media (max-width: 990px) { #page { display: block; } aside { display: none; } }
</style>
<link rel="stylesheet" href="$root$styles.css">
</head>
<body>
<nav aria-label="Site"><a href="$root$index.html">cifar_oc</a> <a href="$repo$">GitHub</a></nav>
<div id="page">
<aside aria-label="Pages">$sidebar$</aside>
<main id="quarto-document-content">
<h1 class="title">$title$</h1>
$if(description)$<p class="lead">$description$</p>$endif$
$body$
<p>$around$</p>
</main>
<aside aria-label="On this page">$toc$</aside>
</div>
$after$
</body>
</html>
'''

def processed(nbs=root/'nbs'):
    "Name to notebook, as nbdev hands it to Quarto; raises `ValueError` with what nbdev says"
    code = f'from nbdev.serve import proc_nbs; print(proc_nbs({str(nbs)!r}, n_workers=1, force=True))'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, encoding='utf-8', cwd=root)
    if done.returncode: raise ValueError(done.stderr[-2000:])
    return notebooks(Path(done.stdout.splitlines()[-1]))

def notebooks(folder): return {f.relative_to(folder).as_posix(): json.loads(f.read_text('utf-8')) for f in sorted(folder.rglob('*.ipynb'))}

def text(cell): return ''.join(cell['source'])

def front(nb): return yaml.safe_load(text(nb['cells'][0]).strip().strip('-'))

def options(src):
    "The options of a cell, as `#| echo: false`, and its code without them"
    lines = src.splitlines()
    rest = [l for l in lines if not l.startswith('#|')]
    given = '\n'.join(l[2:].strip() for l in lines if l.startswith('#|') and ':' in l)
    return yaml.safe_load(given) or {}, '\n'.join(rest).strip()

def fenced(s, kind=''): return f'~~~~~~ {{.{kind or "text"}}}\n{s.rstrip()}\n~~~~~~'

def shown(out, alt, to):
    "The markdown of an output; a picture becomes a file beside `to`"
    data = {k: ''.join(v) for k,v in out.get('data', {}).items()} or {'text/plain': ''.join(out['text'])}
    if 'text/markdown' in data: return data['text/markdown']
    if 'text/html' in data: return f"```{{=html}}\n<div class=\"cell-output cell-output-display\">{data['text/html']}</div>\n```"
    if 'image/png' not in data: return fenced(data['text/plain'])
    n = len(list(to.parent.glob(f'{to.stem}-*.png')))
    picture = to.with_name(f'{to.stem}-{n}.png')
    picture.write_bytes(base64.b64decode(data['image/png']))
    return f'```{{=html}}\n<p class="cell-output cell-output-display"><img src="{picture.name}" alt="{escape(alt)}"></p>\n```'

def markdown(nb, to):
    "The page `nb` as pandoc's markdown; its pictures are written beside `to`"
    parts = []
    for cell in nb['cells'][1:]:
        if cell['cell_type'] == 'markdown': parts.append(text(cell))
        if cell['cell_type'] != 'code': continue
        opts,code = options(text(cell))
        if opts.get('echo', True): parts.append(fenced(code, 'python'))
        parts += [shown(o, str(opts.get('fig-alt', '')), to) for o in cell['outputs']]
    return '\n\n'.join(parts)

def entries(contents):
    "(title or None, file or address) of each page in the sidebar, and (section, None)"
    for o in contents:
        if isinstance(o, str): yield None, o
        elif 'section' in o: yield from [(o['section'], None), *entries(o['contents'])]
        else: yield o['text'], o['href']

def sidebar():
    website = yaml.safe_load((root/'nbs/sidebar.yml').read_text('utf-8'))['website']
    return list(entries(website['sidebar']['contents']))

def relinked(html, page, outputs):
    "`html` of `page` with links to notebooks, and to the site's own address, made relative to the page's own file"
    here = PurePosixPath(page).parent
    def link(m):
        url,_,anchor = m[2].partition('#')
        if url.startswith(site_url): target = url.removeprefix(site_url) or 'index.html'
        elif re.match(r'[a-z]+:', url) or not url.endswith('.ipynb'): return m[0]
        else: target = outputs.get(relpath(here/url, '.'), url)
        return f'{m[1]}="{relpath(target, here)}{"#"*bool(anchor)}{anchor}"'
    return re.sub(r'\b(href|src)="([^"]*)"', link, html)

def nav(page, outputs, titles):
    "The sidebar's list, and the links to the page before and after, as HTML of notebook links"
    pages = [(t or titles[f], f) for t,f in sidebar() if f]
    rows = [f'<li><strong>{t}</strong></li>' if f is None else f'<li><a href="{relpath(f, PurePosixPath(page).parent)}">{t or titles[f]}</a></li>' for t,f in sidebar()]
    at = next((i for i,(_,f) in enumerate(pages) if f == page), None)
    around = [] if at is None else pages[max(0, at-1):at] + pages[at+1:at+2]
    links = [f'<a href="{relpath(f, PurePosixPath(page).parent)}">{t}</a>' for t,f in around]
    return f"<ul>{''.join(rows)}</ul>", ' · '.join(links)

def make_site(to, pages=None):
    "The whole site in the folder `to`; returns page names and their HTML files"
    pages = pages or processed()
    for f in 'images', 'tutorials': shutil.copytree(root/'nbs'/f, to/f, ignore=shutil.ignore_patterns('*.ipynb', 'runs'), dirs_exist_ok=True)
    shutil.copy(root/'nbs/styles.css', to)
    (form := to/'template.html').write_text(template, 'utf-8')
    after = root/'nbs/after.html'
    outputs = {k: (PurePosixPath(k).parent/front(nb)['output-file']).as_posix() for k,nb in pages.items()}
    titles = {k: front(nb)['title'] for k,nb in pages.items()}
    for name,nb in pages.items():
        side,around = nav(name, outputs, titles)
        up = '../'*name.count('/')
        vars = dict(title=titles[name], description=front(nb).get('description', ''), root=up, sidebar=side, around=around, repo='https://github.com/cifar-oc/cifar_oc', after=after.read_text('utf-8') if after.exists() else '')
        args = ['--standalone', f'--template={form}', '--toc', '--toc-depth=3', '--syntax-highlighting=none', '--mathml', *(f'--variable={k}={v}' for k,v in vars.items())]
        html = pypandoc.convert_text(markdown(nb, to/outputs[name]), 'html5', 'markdown-implicit_figures+autolink_bare_uris', args)
        (to/outputs[name]).write_text(relinked(html, name, outputs), 'utf-8')
    return {k: to/o for k,o in outputs.items()}

if __name__ == '__main__':
    (out := Path(sys.argv[1])).mkdir(parents=True, exist_ok=True)
    make_site(out)
    print(f'{out}/index.html')
