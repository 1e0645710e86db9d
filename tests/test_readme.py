"README.md is what make_readme.py makes of nbs/index.ipynb, and its pictures and commands are there."
import json, re
import pytest
from make_readme import readme, root

nb = json.loads((root/'nbs/index.ipynb').read_text('utf-8'))

def test_readme_in_step():
    "`python tests/make_readme.py` writes it"
    assert (root/'README.md').read_text('utf-8') == readme(nb)

def test_nbdev_leaves_it_alone():
    "nbdev's own README would lose the description and the pictures' paths: what calls it finds no notebook to make it of."
    from nbdev.quarto import nbdev_readme
    before = (root/'README.md').read_bytes()
    nbdev_readme.__wrapped__(path=root/'nbs')
    assert (root/'README.md').read_bytes() == before

def test_pictures_exist():
    "Every picture that the README shows by a path is in the repository."
    for link in re.findall(r'!\[[^]]*\]\(([^)\s]+)|<img[^>]*src="([^"]+)', (root/'README.md').read_text('utf-8')):
        if not (url := ''.join(link)).startswith('https://'): assert (root/url).is_file(), url

@pytest.mark.parametrize('part', ['pip install . && cifar-oc-train --source demo', "pip install -e '.[dev]' && nbdev-test"])
def test_two_commands(part):
    blocks = re.findall(r'^```\s*sh\n(.*?)^```', (root/'README.md').read_text('utf-8'), re.M | re.S)
    assert any(part in b for b in blocks[:2])
