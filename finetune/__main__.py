"""`python -m finetune` is `woodshed`: for launchers that start a module, such as `accelerate launch -m`."""

from finetune.cli import main

if __name__ == "__main__":
    main()
