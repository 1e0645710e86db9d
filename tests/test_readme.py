"README.md says what nbs/index.ipynb says, whether Quarto or make_readme.py wrote it."
import json, re
import pytest
from make_readme import hidden, readme, root, texts

nb = json.loads((root/'nbs/index.ipynb').read_text('utf-8'))

def words(text):
    "`text` as words, without what Quarto writes in its own way: quote marks of the subtitle, image links, fences, table rules."
    text = re.sub(r'!\[[^]]*\]\([^)]*\)|<img[^>]*>', ' ', text)
    text = re.sub(r'^```[ ]*', '``` ', text, flags=re.M)
    return re.sub(r'^>\s|-{3,}|[|\\]', ' ', text, flags=re.M).split()

def missing(nb, text):
    "The first text of `nb` that does not follow the ones before it in `text`, or `None`."
    have,at = f" {' '.join(words(text))} ", 0
    for part in (t for c in nb['cells'] if not hidden(c) for t in texts(c)):
        if not (want := ' '.join(words(part))): continue
        if (found := have.find(f' {want} ', at)) < 0: return part
        at = found + len(want) + 1

def test_readme_in_step(): assert missing(nb, (root/'README.md').read_text('utf-8')) is None

def test_stale_readme_is_found():
    text = readme(nb)
    shown = [c for c in nb['cells'] if not hidden(c)]
    assert missing(nb, text) is None
    assert missing(dict(cells=shown[:1] + [dict(cell_type='markdown', source=['A new line.'])] + shown[1:]), text) == 'A new line.'
    assert missing(dict(cells=shown[::-1]), text) is not None

def test_pictures_exist():
    "Every picture that the README shows by a path is in the repository."
    for link in re.findall(r'!\[[^]]*\]\(([^)\s]+)|<img[^>]*src="([^"]+)', (root/'README.md').read_text('utf-8')):
        if not (url := ''.join(link)).startswith('https://'): assert (root/url).is_file(), url

@pytest.mark.parametrize('part', ['pip install . && cifar-oc-train --source demo', "pip install -e '.[dev]' && nbdev-test"])
def test_two_commands(part):
    blocks = re.findall(r'^```\s*sh\n(.*?)^```', (root/'README.md').read_text('utf-8'), re.M | re.S)
    assert any(part in b for b in blocks[:2])
