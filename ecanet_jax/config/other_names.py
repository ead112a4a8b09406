"""What keys are called here that other training programs call otherwise.

The names are the flags of timm's train.py and of torchvision's references/classification, and the
arguments of Keras, of transformers' TrainingArguments and of Lightning's Trainer.
"""

import difflib
from collections.abc import Collection

from ecanet_jax.runtime.errors import closest

# Our key -> what others call it.
_OTHERS = {
  'augment.policy': 'aa auto_augment autoaugment randaugment rand_augment',
  'augment.magnitude': 'ra_magnitude',
  'augment.erasing': 'reprob random_erase cutout',
  'augment.erasing_mode': 'remode',
  'mix.mixup_alpha': 'mixup',
  'mix.prob': 'mixup_prob',
  'mix.switch_prob': 'mixup_switch_prob',
  'mix.cutmix_alpha': 'cutmix',
  'compute_dtype': 'amp fp16 bf16 dtype precision mixed_precision',
  'model.name': 'arch architecture model backbone network',
  'model.num_classes': 'classes fc classifier head nb_classes',
  'model.global_pool': 'gp pool',
  'model.bn_groups': 'sync_bn',
  'model.bn_decay': 'bn_momentum',
  'model.frozen_stages': 'freeze',
  'model.frozen_bn': 'freeze_bn',
  'model.dropout': 'drop_rate drop',
  'model.drop_path': 'drop_path_rate drop_connect_rate survival_prob',
  'model.attention.kind': 'attention attn attn_layer se_layer',
  'model.activation': 'act_layer activation',
  'init.weights': 'checkpoint finetune initial_checkpoint load_from pretrained weights',
  'data.name': 'dataset data dataset_name',
  'data.data_dir': 'root data_path train_dir',
  'data.crop_fraction': 'crop_pct',
  'data.image_size': 'val_crop_size train_crop_size img_size image_size input_size resolution',
  'data.flip': 'hflip horizontal_flip',
  'data.area': 'scale',
  'data.aspect': 'ratio',
  'data.decode_threads': 'workers num_workers',
  'data.eval_share': 'validation_split',
  'data.eval_split': 'val_split',
  'data.interpolation': 'train_interpolation',
  'loss.label_smoothing': 'smoothing',
  'loss.name': 'bce_loss criterion',
  'loss.class_weights': 'class_weight pos_weight',
  'optimizer.clip_norm':
    'clip_grad grad_clip clip_grad_norm max_grad_norm gradient_clip_val '
    'clipnorm',
  'optimizer.name': 'opt optim optimizer',
  'optimizer.weight_decay': 'wd',
  'optimizer.eps': 'opt_eps',
  'optimizer.b1': 'beta1',
  'optimizer.b2': 'beta2',
  'optimizer.sam_rho': 'rho',
  'schedule.lr': 'lr learning_rate base_lr',
  'schedule.name': 'sched scheduler lr_scheduler lr_scheduler_type schedule',
  'schedule.final_fraction': 'min_lr lr_min',
  'schedule.warmup_epochs': 'warmup warmup_steps',
  'schedule.warmup_from': 'warmup_lr',
  'schedule.decay_rate': 'lr_gamma gamma',
  'schedule.decay_epochs': 'lr_step_size',
  'ema.decay': 'model_ema model_ema_decay ema',
  'epochs': 'num_epochs num_train_epochs max_epochs',
  'steps': 'max_steps iterations',
  'batch_size':
    'batch per_device_batch_size per_device_train_batch_size global_batch_size '
    'train_batch_size',
  'accumulate':
    'accum_iter grad_accum grad_accum_steps gradient_accumulation_steps '
    'accumulate_grad_batches',
  'seed': 'random_seed',
  'log_steps': 'log_interval log_every_n_steps logging_steps',
  'save_epochs': 'save_steps',
  'eval_epochs': 'eval_steps check_val_every_n_epoch',
  'early_stop': 'patience early_stopping',
  'keep_checkpoints': 'save_total_limit checkpoint_hist',
  'trackers': 'wandb mlflow report_to',
  'ops.remat': 'grad_checkpointing gradient_checkpointing',
  'profile.last': 'profile',
  'ops.backend': 'native',
}
# Their name -> our key.
KEYS = {name: ours for ours, names in _OTHERS.items() for name in names.split()}
# What is a flag of train and no key -> the flag.
FLAGS = {
  'output': '--workdir', 'output_dir': '--workdir', 'workdir': '--workdir', 'log_dir': '--workdir',
  'save_dir': '--workdir', 'experiment': '--workdir', 'config': '--config',
}
# What needs no key -> why.
NOT_NEEDED = {
  'resume': 'The same command of train, with the same --workdir, resumes.',
  'channels_last': 'Images are always channels last.',
  'compile': 'Every step is compiled.',
  'local_rank': 'Every process finds its devices.',
}
NEAR = 0.75


def advice(key: str, known: Collection[str]) -> str:
  """What to write instead of an unknown key: one sentence that begins with a blank, or ''.

  Another program's name is known by its meaning. In a section, such as 'model.', a key of ours with
  the same last part comes before it; the nearest spelling comes last.

  Args:
    key: as given, such as 'optimizer.learning_rate'.
    known: all keys.
  """
  last = key.split('.')[-1].replace('-', '_').lower()
  same_end = [name for name in known if name.split('.')[-1] == last]
  if same_end and ('.' in key or last not in KEYS):
    return closest(key, same_end, cutoff=0.0)
  if last in KEYS:
    return f' Did you mean {KEYS[last]!r}?'
  if last in FLAGS:
    return f' It is a flag of train: {FLAGS[last]}=VALUE.'
  if last in NOT_NEEDED:
    return f' {NOT_NEEDED[last]}'
  ends = {name.split('.')[-1]: name for name in known}
  near = difflib.get_close_matches(last, ends, n=1, cutoff=NEAR)
  return f' Did you mean {ends[near[0]]!r}?' if near else closest(key, known, cutoff=NEAR)
