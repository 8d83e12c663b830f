/* The protocol that keeps a training whole, as a model for SPIN: generations, leases, staged slices,
   checkpoints and restoring. It verifies, for every order of events within the bounds below:

     exactly once    a slice takes each slot's gradient exactly once a step, however often and by
                     whichever worker it is sent
     whole steps     a gradient is computed on slices that are all of its lease's step
     whole restores  a generation starts from slices that are all of one checkpoint, and from the
                     newest one that was complete
     no stuck state  whatever has crashed, the training reaches its end, and its last step the
                     disk: no deadlock (no invalid end state) and no livelock (no cycle at all)

   Run it with tests/protocol, or by hand:

     spin -a docs/protocol.pml && gcc -O2 -DNP -o pan pan.c && ./pan -l -m100000

   A check that cannot fail shows nothing. Each of these removes a rule, and SPIN must find the
   resulting error:

     -DNO_DEDUP          a slice that was staged before is staged again
     -DNO_FENCE          messages of another generation are accepted as the current one's
     -DTORN_CHECKPOINT   the manifest does not wait for all shards' files
     -DMIXED_PULL        a pull takes the current weights instead of the lease's step
     -DEARLY_FINISH      workers leave when the last step is done, before it is on disk
     -DTRUST_WORKERS     a step is done when workers have reported its slots, though shards may lack
                         gradients of it

   What is left out of the model: values (a gradient is a function of step and slot, so that it does
   not matter who computes it), time (a lease may expire while its holder lives, EXPIRIES times; it
   always may when the holder is gone), and evaluations. A call and its answer are one transition;
   that messages come late or twice is what `late` is for. The names are the code's where it has them.
*/

#ifndef SHARDS
#define SHARDS 2
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef STEPS
#define STEPS 2      /* a checkpoint is taken at each */
#endif
#ifndef CRASHES
#define CRASHES 2    /* of any shard; shard 0 is also the coordinator */
#endif
#ifndef DEATHS
#define DEATHS 1     /* of workers, in the middle of a lease */
#endif
#ifndef EXPIRIES
#define EXPIRIES 1   /* of leases whose holder is only slow */
#endif
#ifndef LATE
#define LATE 1       /* messages that arrive a second time, at any later moment */
#endif
#ifndef LIES
#define LIES 0       /* results that are reported without a gradient having been pushed */
#endif

#define ALL_SLOTS ((1 << SLOTS) - 1)
#define ALL_SHARDS ((1 << SHARDS) - 1)
#define FREE 0
#define LEASED 1
#define DONE 2

#ifdef NO_FENCE
#define FENCED(message, own) true
#else
#define FENCED(message, own) ((message) == (own))
#endif

/* ---- on disk: survives every crash --------------------------------------------------------- */

byte last_generation = 0;        /* cluster.json */
bool file[SHARDS * (STEPS + 1)]; /* a shard's file of a step's checkpoint, whole under its name */
bool manifest[STEPS + 1];

/* ---- coordinator, in shard 0 --------------------------------------------------------------- */

byte generation = 0;      /* that is open; 0: none */
byte step = 0;            /* whose slots are leased */
byte restored = 0;        /* step of the checkpoint that the generation started from */
byte slot[SLOTS];         /* FREE, LEASED, DONE */
byte holder[SLOTS];       /* which worker, if LEASED */
byte parts[STEPS + 1];    /* which shards have written their file of a step */
bool changed[SHARDS];     /* beats with another incarnation than before */

/* ---- shards: a slice each, of one tensor that is split over all of them --------------------- */

byte entered[SHARDS];     /* generation; 0: nothing is open */
byte at[SHARDS];          /* step of the weights; those of the previous step are retained */
byte staged[SHARDS];      /* slots of step `at` that have been filed */
byte counted[SHARDS];     /* number of gradients filed */
byte unwritten[SHARDS];   /* step whose checkpoint is still to be written; 0: none */

/* ---- workers ------------------------------------------------------------------------------- */

bool working[WORKERS];    /* holds a lease and is alive */

byte crashes = 0, deaths = 0, expiries = 0, lies = 0;

/* A message that is delivered a second time. */
byte late = 0;            /* how many have been sent */
bool late_push = false, late_complete = false;
byte late_generation, late_step, late_slot, late_shard;

#ifdef EARLY_FINISH
#define FINISHED (step == STEPS && generation != 0)
#else
#define FINISHED (step == STEPS && generation != 0 && manifest[STEPS])
#endif
#define ALL_ENTERED (entered[0] == generation && entered[1] == generation && generation != 0)

/* Push: shard s takes the gradient of a slot of a step, or drops one that it already took. */
inline push(s, its_generation, its_step, its_slot) {
  if
  :: FENCED(its_generation, entered[s]) && entered[s] != 0 && its_step == at[s] ->
     if
#ifndef NO_DEDUP
     :: staged[s] & (1 << its_slot) -> skip /* a duplicate */
#endif
     :: else ->
        staged[s] = staged[s] | (1 << its_slot);
        counted[s]++
     fi
  :: else -> skip /* refused, or of a step that is past: all of its gradients were applied */
  fi
}

/* What a shard's heartbeat reports about the coordinator's step: it has all gradients, or lacks a slot's. */
#define GATHERED(s) \
  (entered[s] == generation && (at[s] > step || (at[s] == step && counted[s] >= SLOTS)))
#define LACKS(s, k) (entered[s] == generation && at[s] == step && !(staged[s] & (1 << (k))))

/* CompleteLease: a slot's result. */
inline complete(its_generation, its_step, its_slot) {
  if
  :: FENCED(its_generation, generation) && generation != 0 && its_step == step && step < STEPS ->
     slot[its_slot] = DONE;
#ifdef TRUST_WORKERS
     if
     :: slot[0] == DONE && slot[1] == DONE ->
        step++;
        slot[0] = FREE;
        slot[1] = FREE
     :: else -> skip
     fi
#endif
  :: else -> skip /* refused, or another worker's result came first */
  fi
}

/* The coordinator opens a generation when a shard has come back changed. */
active proctype Coordinator() {
  byte k;
end:
  do
  :: atomic {
       (changed[0] || changed[1]) ->
       last_generation++; /* on disk before it is used */
       generation = last_generation;
       changed[0] = false;
       changed[1] = false;
       restored = 0;
       k = 1;
       do
       :: k <= STEPS ->
          if
          :: manifest[k] -> restored = k
          :: else -> skip
          fi;
          parts[k] = 0;
          k++
       :: else -> break
       od;
       step = restored;
       slot[0] = FREE;
       slot[1] = FREE;
       k = 0
     }
  /* Expire: a lease whose holder is gone, or slow. */
  :: atomic {
       slot[0] == LEASED && (!working[holder[0]] || expiries < EXPIRIES) ->
       if
       :: working[holder[0]] -> expiries++
       :: else -> skip
       fi;
       slot[0] = FREE
     }
  :: atomic {
       slot[1] == LEASED && (!working[holder[1]] || expiries < EXPIRIES) ->
       if
       :: working[holder[1]] -> expiries++
       :: else -> skip
       fi;
       slot[1] = FREE
     }
#ifndef TRUST_WORKERS
  /* Confirm: the step is done when all shards also have its gradients. */
  :: atomic {
       generation != 0 && step < STEPS && slot[0] == DONE && slot[1] == DONE &&
       GATHERED(0) && GATHERED(1) ->
       step++;
       slot[0] = FREE;
       slot[1] = FREE
     }
  /* Reopen: a slot that was reported and that a shard lacks. */
  :: atomic {
       generation != 0 && step < STEPS && slot[0] == DONE && (LACKS(0, 0) || LACKS(1, 0)) ->
       slot[0] = FREE
     }
  :: atomic {
       generation != 0 && step < STEPS && slot[1] == DONE && (LACKS(0, 1) || LACKS(1, 1)) ->
       slot[1] = FREE
     }
#endif
  /* The manifest is written last; then older checkpoints are removed. */
  :: atomic {
       generation != 0 && (
#ifdef TORN_CHECKPOINT
         parts[1] != 0
#else
         parts[1] == ALL_SHARDS
#endif
         ) && !manifest[1] && !manifest[2] -> manifest[1] = true
     }
  :: atomic {
       generation != 0 && (
#ifdef TORN_CHECKPOINT
         parts[2] != 0
#else
         parts[2] == ALL_SHARDS
#endif
         ) && !manifest[2] -> manifest[2] = true
     }
  :: atomic {
       manifest[2] && (manifest[1] || file[SHARDS] || file[SHARDS + 1]) ->
       manifest[1] = false;
       file[SHARDS] = false; /* of step 1 */
       file[SHARDS + 1] = false
     }
  od
}

active [SHARDS] proctype Shard() {
  byte s = _pid - 1;
end:
  do
  /* A heartbeat's answer announces a new generation: enter it, with the checkpoint's weights. */
  :: atomic {
       generation != 0 && entered[s] != generation && !changed[s] ->
       entered[s] = generation;
       at[s] = restored;
       staged[s] = 0;
       counted[s] = 0;
       unwritten[s] = 0;
       assert(restored == 0 || file[SHARDS * restored + s]); /* whole restores */
       assert(restored >= 2 || !manifest[2])
     }
  /* All slots are staged, here and at the others, whose norms are needed: update. */
  :: atomic {
       entered[s] != 0 && counted[s] >= SLOTS &&
       entered[1 - s] == entered[s] &&
       (at[1 - s] > at[s] || (at[1 - s] == at[s] && counted[1 - s] >= SLOTS)) ->
       assert(staged[s] == ALL_SLOTS && counted[s] == SLOTS); /* exactly once */
       at[s]++;
       staged[s] = 0;
       counted[s] = 0;
       unwritten[s] = at[s]
     }
  /* Concurrently with the training: the file, renamed when it is whole. */
  :: atomic {
       unwritten[s] != 0 && !manifest[2] ->
       file[SHARDS * unwritten[s] + s] = true;
       if
       :: FENCED(entered[s], generation) && generation != 0 ->
          parts[unwritten[s]] = parts[unwritten[s]] | (1 << s)
       :: else -> skip
       fi;
       unwritten[s] = 0
     }
  od
}

/* Crashes, and messages that arrive late. */
active proctype World() {
  byte s;
end:
  do
  :: atomic {
       crashes < CRASHES ->
       if
       :: s = 0
       :: s = 1
       fi;
       crashes++;
       entered[s] = 0;
       at[s] = 0;
       staged[s] = 0;
       counted[s] = 0;
       unwritten[s] = 0;
       changed[s] = true;
       if
       :: s == 0 ->
          generation = 0;
          step = 0;
          slot[0] = FREE;
          slot[1] = FREE;
          parts[1] = 0;
          parts[2] = 0;
          changed[1] = true /* a new coordinator knows no shard */
       :: else -> skip
       fi;
       s = 0
     }
  /* No further crash: what is stuck now remains stuck. */
  :: atomic { crashes < CRASHES -> crashes = CRASHES }
  :: atomic {
       timeout ->
       assert(generation != 0 && at[0] == STEPS && at[1] == STEPS && manifest[STEPS]);
       break
     }
  :: atomic {
       late_push ->
       push(late_shard, late_generation, late_step, late_slot);
       late_push = false;
       late_generation = 0; late_step = 0; late_slot = 0; late_shard = 0
     }
  :: atomic {
       late_complete ->
       complete(late_generation, late_step, late_slot);
       late_complete = false;
       late_generation = 0; late_step = 0; late_slot = 0
     }
  od
}

active [WORKERS] proctype Worker() {
  byte w = _pid - SHARDS - 2;
  byte its_generation, its_step, its_slot, s, pulled;

  do
  :: FINISHED -> break
  /* AcquireLease */
  :: atomic {
       step < STEPS && ALL_ENTERED && (slot[0] == FREE || slot[1] == FREE) ->
       its_generation = generation;
       its_step = step;
       if
       :: slot[0] == FREE -> its_slot = 0
       :: else -> its_slot = 1
       fi;
       slot[its_slot] = LEASED;
       holder[its_slot] = w;
       working[w] = true;
       s = 0
     };
     /* Pull: slice by slice, each at exactly the lease's step. */
     do
     :: s < SHARDS ->
        if
        :: atomic {
             FENCED(its_generation, entered[s]) && entered[s] != 0 &&
#ifdef MIXED_PULL
             true ->
#else
             (at[s] == its_step || at[s] == its_step + 1) -> /* the previous step is retained */
#endif
#ifdef MIXED_PULL
             pulled = at[s];
#else
             pulled = its_step;
#endif
             assert(pulled == its_step); /* whole steps */
             s++
           }
        :: atomic {
             !FENCED(its_generation, entered[s]) || entered[s] == 0 || at[s] > its_step + 1 ->
             goto drop /* refused */
           }
        :: atomic { deaths < DEATHS -> deaths++; goto drop }
        fi
     :: else -> break
     od;
     /* Push: slice by slice; or a report without it. */
     s = 0;
     do
     :: atomic { lies < LIES -> lies++; break }
     :: s < SHARDS ->
        if
        :: atomic {
             push(s, its_generation, its_step, its_slot);
             if
             :: !FENCED(its_generation, entered[s]) || entered[s] == 0 -> goto drop /* refused */
             :: else -> s++
             fi
           }
        :: atomic {
             late < LATE ->
             late++;
             late_push = true;
             late_shard = s;
             late_generation = its_generation;
             late_step = its_step;
             late_slot = its_slot
           }
        :: atomic { deaths < DEATHS -> deaths++; goto drop }
        fi
     :: else -> break
     od;
     if
     :: atomic {
          late < LATE ->
          late++;
          late_complete = true;
          late_generation = its_generation;
          late_step = its_step;
          late_slot = its_slot
        }
     :: skip
     fi;
     atomic { complete(its_generation, its_step, its_slot); goto drop };
  drop:
     atomic {
       working[w] = false;
       s = 0;
       pulled = 0;
       its_generation = 0;
       its_step = 0;
       its_slot = 0
     }
  od
}

init {
  atomic { changed[0] = true; changed[1] = true }
}
