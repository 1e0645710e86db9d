"""The peers, in the plainest form their users write:
the loop of the course notebooks, naive fastai, and loops with some or all of what this package changes.
With all of it the loop is the bare loop: our computation without a framework, which is the limit of any framework.

Each loop is a function of `valid`: it trains one epoch, validates where `valid` is true, and returns the seconds."""
import os, time, albumentations as A, cv2, numpy as np, torch
from albumentations.pytorch import ToTensorV2
from contextlib import redirect_stdout
from functools import partial
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

mean, std = (.491, .482, .447), (.247, .243, .261)
lr_min, lr_max, wd = 1e-5, 1e-4, .01  # low, so that no loop diverges in any number of rounds
quiet = open(os.devnull, 'w')         # progress bars are drawn, and shown to nobody

def now(device):
    "The time at which `device` has done all it was asked to do"
    if device.type == 'cuda': torch.cuda.synchronize()
    return time.perf_counter()

# (a) the course notebooks

class CourseNet(nn.Module):
    "The network as the notebooks write it; with `inplace`, its ReLUs change what they are given"
    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace
        self.prep = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace))
        self.x1, self.r1 = self.x_block(64, 128), self.r_block(128)
        self.x2 = self.x_block(128, 256)
        self.x3, self.r3 = self.x_block(256, 512), self.r_block(512)
        self.pool, self.fc = nn.MaxPool2d(4, 4), nn.Linear(512, 10)
    def x_block(self, i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.MaxPool2d(2, 2), nn.BatchNorm2d(o), nn.ReLU(self.inplace))
    def r_block(self, n):
        return nn.Sequential(nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n), nn.ReLU(self.inplace),
                             nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n), nn.ReLU(self.inplace))
    def forward(self, x):
        x = self.x1(self.prep(x))
        x = self.x2(x + self.r1(x))
        x = self.x3(x)
        x = self.pool(x + self.r3(x))
        return self.fc(x.view(-1, 512))

def course_aug(*last):
    "Padding, crop, flip, CutOut, and the transforms `last`"
    return A.Compose([A.PadIfNeeded(40, 40, border_mode=cv2.BORDER_REFLECT_101), A.RandomCrop(32, 32), A.HorizontalFlip(p=.5),
        A.CoarseDropout(num_holes_range=(1,1), hole_height_range=(8,8), hole_width_range=(8,8), fill=[255*m for m in mean], p=1), *last])

class CourseData(Dataset):
    "torchvision's CIFAR10 with Albumentations: a picture and its label at a time"
    def __init__(self, x, y, transform): self.x, self.y, self.transform = x, y, transform
    def __len__(self): return len(self.x)
    def __getitem__(self, i): return self.transform(image=self.x[i])['image'], self.y[i]

def course_loaders(ds, bs):
    "The notebooks' loaders: four workers and pinned memory with a card, none without"
    last = A.Normalize(mean, std), ToTensorV2()
    how = dict(num_workers=4, pin_memory=True) if torch.cuda.is_available() else {}
    return (DataLoader(CourseData(ds.train_x, ds.train_y, course_aug(*last)), bs, shuffle=True, **how),
            DataLoader(CourseData(ds.test_x, ds.test_y, A.Compose(last)), bs, **how))

def train(model, device, loader, optimizer, scheduler, criterion):
    "An epoch of training as the notebooks write it"
    model.train()
    bar, correct, seen, losses = tqdm(loader, file=quiet), 0, 0, []
    for data, target in bar:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        pred = model(data)
        loss = criterion(pred, target)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        scheduler.step()
        correct += pred.argmax(1).eq(target).sum().item()
        seen += len(data)
        bar.set_description(f'loss={losses[-1]:.4f} accuracy={100*correct/seen:.2f}')

def test(model, device, loader):
    "Validation as the notebooks write it"
    model.eval()
    loss, correct = 0, 0
    with torch.no_grad():
        for data, target in loader:
            data, target = data.to(device), target.to(device)
            pred = model(data)
            loss += F.cross_entropy(pred, target, reduction='sum').item()
            correct += pred.argmax(1).eq(target).sum().item()
    return loss / len(loader.dataset), correct

def course_loop(ds, bs, device):
    "float32, NCHW, torch's Adam and OneCycleLR, `.item()` at each step, tqdm"
    (train_loader, test_loader), model, criterion = course_loaders(ds, bs), CourseNet().to(device), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr_max, weight_decay=wd)
    def train_epoch():
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr_max, epochs=1, steps_per_epoch=len(train_loader))
        train(model, device, train_loader, optimizer, scheduler, criterion)
    return timed(train_epoch, lambda: test(model, device, test_loader), device)

def timed(train, test, device, autotune=False):
    "A function that runs `train` and, if asked, `test`, and returns the seconds; with `autotune`, cuDNN tries its algorithms"
    def epoch(valid=False):
        torch.backends.cudnn.benchmark = autotune
        start = now(device)
        train()
        if valid: test()
        return now(device) - start
    return epoch

# (b) naive fastai

def naive_dls(ds, folder, bs):
    "`ImageDataLoaders` over PNG files, written to `folder`, with Albumentations as fastai's tutorial wraps it"
    from fastai.vision.all import ImageDataLoaders, Normalize, PILImage, Transform, cifar_stats
    class AlbumentationsTransform(Transform):
        split_idx = 0
        def __init__(self, aug): self.aug = aug
        def encodes(self, img:PILImage): return PILImage.create(self.aug(image=np.array(img))['image'])
    for split, x, y in ('train', ds.train_x, ds.train_y), ('test', ds.test_x, ds.test_y):
        for i, (pic, label) in enumerate(zip(x, y)):
            file = folder/split/ds.vocab[label]/f'{i}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), pic[..., ::-1])
    return ImageDataLoaders.from_folder(folder, train='train', valid='test', bs=bs, num_workers=0,
        item_tfms=AlbumentationsTransform(course_aug()), batch_tfms=Normalize.from_stats(*cifar_stats))

# (c) the bare loop, and the steps that lead from (a) to it

class Batches:
    "Normalised batches of the arrays `x` and `y`, shuffled and augmented by the package's own functions where `train`; with a card, the arrays live on it"
    def __init__(self, x, y, train, bs, device):
        from cifar_oc.augment import BatchAugment
        from cifar_oc.loaders import NormalizeBytes
        from fastai.vision.all import TensorImage, cifar_stats
        self.aug, self.norm, self.image = BatchAugment(), NormalizeBytes.from_stats(*cifar_stats), TensorImage
        self.card, self.train, self.bs = device.type == 'cuda', train, bs
        self.x, self.y = (torch.from_numpy(x).to(device).movedim(-1, 1), torch.from_numpy(y).to(device)) if self.card else (x, y)
    def batch(self, rows):
        x, y = self.x[rows], self.y[rows]
        if self.card: x = self.image(x)
        if self.train: x = self.aug(x, split_idx=0)
        if not self.card: x, y = self.image(torch.from_numpy(x).movedim(-1, 1)), torch.from_numpy(y)
        return self.norm.encodes(x).as_subclass(torch.Tensor), y
    def __iter__(self):
        rows = torch.from_numpy((np.random.permutation if self.train else np.arange)(len(self.x)))
        rows = rows.to(self.x.device) if self.card else rows.numpy()
        for i in range(0, len(rows), self.bs): yield self.batch(rows[i:i+self.bs])

def adamw(model, fused):
    "AdamW, no decay of batch norm and biases; or torch's Adam as the notebooks have it"
    if not fused: return torch.optim.Adam(model.parameters(), lr=lr_max, weight_decay=wd)
    groups = [dict(params=[p for p in model.parameters() if (p.ndim > 1) == decay], weight_decay=wd*decay) for decay in (True, False)]
    return torch.optim.AdamW(groups, lr=lr_max, betas=(.95, .99), eps=1e-5, fused=True)

class Loop:
    "`course_loop` with the changes that are asked for; with all of them, the bare loop"
    def __init__(self, ds, bs, device, net=CourseNet, batched=False, channels_last=False, precision='fp32', fused=False, waits=True, compiled=False):
        self.device, self.waits, self.steps = device, waits, -(-len(ds.train_x) // bs)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.amp = dict(dtype=torch.float16 if precision == 'fp16' else torch.bfloat16, enabled=precision != 'fp32')
        self.model = net().to(device, memory_format=self.layout)
        if compiled: self.model.compile(dynamic=False)
        self.loaders = [Batches(*o, bs, device) for o in ((ds.train_x, ds.train_y, True), (ds.test_x, ds.test_y, False))] if batched else course_loaders(ds, bs)
        self.opt, self.scaler = adamw(self.model, fused), torch.amp.GradScaler(device.type, enabled=precision == 'fp16')
    def forward(self, data, target):
        "The loss and the number of right answers; in training without waits, none: fastai counts them in validation alone"
        data, target = data.to(self.device, memory_format=self.layout), target.to(self.device)
        with torch.autocast(self.device.type, **self.amp): pred = self.model(data)
        return F.cross_entropy(pred.float(), target), pred.argmax(1).eq(target).sum() if self.waits or not self.model.training else 0
    def step(self, data, target):
        loss, correct = self.forward(data, target)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.opt)
        self.scaler.update()
        self.opt.zero_grad()
        self.sched.step()
        return loss.detach(), correct
    def sums(self, losses, bar=None):
        "Sums of pairs of loss and right answers; each is waited for, or all at the end"
        loss, correct = 0, 0
        for l,c in losses:
            loss, correct = loss + (l.item() if self.waits else l), correct + (c.item() if self.waits else c)
            if bar is not None: bar.set_description(f'loss={loss:.4f} correct={correct}')
        return float(loss), int(correct)
    def train(self):
        self.model.train()
        self.sched = torch.optim.lr_scheduler.OneCycleLR(self.opt, lr_max, total_steps=self.steps)
        bar = tqdm(self.loaders[0], total=self.steps, file=quiet) if self.waits else None
        return self.sums((self.step(*o) for o in (self.loaders[0] if bar is None else bar)), bar)
    def test(self):
        self.model.eval()
        with torch.no_grad(): return self.sums(self.forward(*o) for o in self.loaders[1])

def loop(ds, bs, device, channels_last=False, **changes):
    "A `Loop` as a function that returns seconds"
    l = Loop(ds, bs, device, channels_last=channels_last, **changes)
    return timed(l.train, l.test, device, channels_last)

def changes(precision, device):
    "What leads from the course loop to the bare loop, one change at a time: name to keywords of `Loop`"
    layout = 'channels-last, cuDNN autotuned' if device.type == 'cuda' else 'channels-last'  # cuDNN keeps its choice for a layout and a precision
    half = {precision: dict(precision=precision)} if precision != 'fp32' else {}
    return {'batched loader': dict(batched=True), layout: dict(channels_last=True)} | half | {
        'ReLU in place': dict(net=partial(CourseNet, inplace=True)), 'fused AdamW': dict(fused=True), 'no host waits': dict(waits=False)}

def bare_loop(ds, bs, device, precision, compiled=False):
    "All changes at once: what this package computes, without a framework and its layers for a processor"
    return loop(ds, bs, device, compiled=compiled, **{k: v for o in changes(precision, device).values() for k,v in o.items()})

# this package

def our_loop(ds, bs, precision=None, compiled=False):
    "`learn.fit_course` as its users call it; without `valid`, the seconds of its training part alone"
    from cifar_oc.all import Callback, cifar_dls, cifar_learner
    class Clock(Callback):
        "The time before or after all other callbacks have had their turn"
        def __init__(self, order): self.order = order
        def before_train(self): self.began = now(self.dls.device)
        def after_train(self): self.ended = now(self.dls.device)
    learn, first, last = cifar_learner(cifar_dls(ds, bs, augment='batch'), precision=precision, compile=compiled), Clock(-1000), Clock(1000)
    def epoch(valid=False):
        torch.backends.cudnn.benchmark = True  # as `cifar_learner` has it; another loop has set it since
        start = now(learn.dls.device)
        with redirect_stdout(quiet), learn.split_ctx(): learn.fit_course(1, (lr_min, lr_max), cbs=[first, last])
        return now(learn.dls.device) - start if valid else last.ended - first.began
    return epoch
