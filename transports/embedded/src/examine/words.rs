//! What is looked for in the directory of a bus.

polybus_contract::diagnoses! {
    JOURNAL_NOT_WRITABLE: Fault "journal-not-writable",
        "the bus cannot be opened, or takes nothing: every send is refused",
        "give the directory to the user that runs the programs, and mount its file system for writing";
    JOURNAL_IN_USE: Fault "journal-in-use",
        "a directory is for one process at a time: whoever comes second is refused",
        "stop that process, or use a bus that several processes share, such as RabbitMQ or NATS";
    JOURNAL_DAMAGED: Fault "journal-damaged",
        "something that had been on disk cannot be read any more; the bus refuses to open, so that nothing is lost unseen",
        "restore the files from a backup, or go on with what is whole before the damage: ?damaged=set-aside";
    JOURNAL_TORN: Notice "journal-torn",
        "the process or the power ended in the middle of a write; that batch was never confirmed and is left out at the next opening",
        "nothing has to be done";
    DAMAGE_SET_ASIDE: Notice "damage-set-aside",
        "an earlier opening put away what could not be read; what is in it is lost to this bus",
        "look into the *.damaged files if it matters, and remove them";
    DISK_LOW: Fault "disk-low",
        "the next file of the journal cannot be reserved: sends are refused as full, and only what is there can be worked off",
        "free space, or make smaller files: ?segment=BYTES";
    JOURNAL_VOLATILE: Warning "journal-volatile",
        "the directory is in memory: everything in it is gone when the machine stops, though sends are confirmed as safe",
        "use a directory on a disk";
    SYNC_DELAYED: Notice "sync-delayed",
        "a loss of power takes what was confirmed within that time; a crash of the process alone takes nothing",
        "sync=always, if what is confirmed must survive the loss of power";
}
