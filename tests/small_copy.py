"""A small archive out of a large one in the train/<class>/* layout, every class alike, the first pictures of each:
`python tests/small_copy.py cifar10.tgz small.tar 5000 1000` keeps 5,000 training and 1,000 test pictures"""
import sys, tarfile

def small_copy(source, to, n_train, n_test):
    "Copy `n_train` and `n_test` pictures of the tar archive `source` to a new one, `to`; raises `ValueError` if they are not there"
    want, left = {'train':int(n_train), 'test':int(n_test)}, {'train':{}, 'test':{}}
    with tarfile.open(source, 'r|*') as src, tarfile.open(to, 'w') as out:
        for m in src:
            part,label = (['',''] + m.name.split('/'))[-3:-1]
            if not m.isreg() or part not in left: continue
            left[part].setdefault(label, want[part]//10 + (len(left[part]) < want[part]%10))
            if not left[part][label]: continue
            left[part][label] -= 1
            out.addfile(m, src.extractfile(m))
    if any(len(o) != 10 or any(o.values()) for o in left.values()): raise ValueError(f'{source} has too few pictures: still wanted {left}')

if __name__ == '__main__': small_copy(*sys.argv[1:])
