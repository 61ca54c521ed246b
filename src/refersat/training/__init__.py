"""Training, from a recipe to a model folder.

`loop` is the place to begin reading. The rooms around it:

- what is to be done: `recipe` (all fields), `recipe_files` (reading them), `recipe_faults` (what is wrong with one),
  `schedule` (what happens at which step), `setup` (all that can be wrong before the first step), `dry_run` (what a run
  would be), `summary` (what it trains)
- what is shown: `generated` (phrases for outlined objects), `sample_sets` (samples as they are), `absent` (phrases that
  name nothing), `augment` (random views), `batch` (what a step gets), `stream` (made ahead, in other processes)
- what is trained: `parts` (of the model, and which train), `initialise` (the first weights), `objective` (losses),
  `heads` (thrown away later), `parameters` (the optimizer's groups, the average), `muon` (an optimizer), `devices` (one
  process or many)
- what is kept: `run_folder` (every file of a run), `checkpoints` (states to go on from), `journal` (losses, scores),
  `validation` (the scores), `pictures` (answers to look at), `curves` (the PNG at the end), `facts` (where weights come
  from), `interruption` (stopping without a loss).
"""
