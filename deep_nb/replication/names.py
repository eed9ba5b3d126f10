"""Names that the parts of a batch share."""

#: The profiles of an experiments file.
PROFILES = ("quick", "full")

#: The experiments file, by default.
EXPERIMENTS = "experiments.yml"

#: Checksums of all files of a batch, in its folder.
CHECKSUMS = "SHA256SUMS"

#: Record in the folder of an experiment. It is written last and completes the experiment.
RECORD = "record.json"
#: Its name while the batch puts the files away.
PENDING = ".record.json"

#: In the folder of a batch, next to its experiments.
LOCK, WORKING, CHECKPOINTS = ".lock", ".working", ".checkpoints"
