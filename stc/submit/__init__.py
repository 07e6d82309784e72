"""Hand-ins for shared tasks: the compressed model of a run in the form that a task's organisers take.

The rules are those of two pages as they were in November 2026.

IWSLT 2026, compression track (iwslt.org/2026/compression): a model is registered on a server under a name of a given
form, with a description that must have the exact storage size, the number of parameters, the techniques and, in the
unconstrained condition, the data sets. Then one file a test set is uploaded: UTF-8, one sentence a line. There are 6
test sets for English to German and 5 for English to Chinese. Not on the page: how the files are called, how several
contrastive models are told apart, and what a team's short name may consist of.

WMT26, model compression (statmt.org/wmt26 and its repository): a folder with setup.sh, run.sh, requirements.txt,
README.md and the model, which an organiser sets up on Ubuntu 24.04 with one H100, and runs. The task is one of text;
how a speech model would take its audio is not specified, so that is stc's own convention (:mod:`stc.submit.wmt`).
"""
