"""Rollouts of many trials, episodes and policies in one compiled loop.

Every step finds the distinct pairs of the trials that are alive, evaluates them in
batches of the next larger size (scalar switches), lets every policy look at those of
its own trials, and hands the rows out; see `dynamic.sharing`. The loop ends with the
last trial. U_a0 is needed only where a key
is taken, so it comes after the loop. The decisions are those of `rollout`, trial for
trial.

P policies, E episodes of T frames, K trials of each, S = T - 1 decisions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.dynamic import batches, deferred, environment, sharing
from jaxseg.dynamic.types import (
    DEFAULT_RULES,
    PairFn,
    RolloutParams,
    Rules,
    Scheduler,
    State,
    Trajectory,
)
from jaxseg.types import Array, PRNGKey


class SharedTrajectory(NamedTuple):
    """Trials and the pairs that they share."""

    trials: Trajectory  # [P, E, K, S]; `score` is NaN where the action is non-key
    pair: Array  # [P, E, K, S] int32, which of the distinct pairs a decision saw
    place: Array  # [P, E, K, S] int32, and which entry of what its policy has seen
    distinct: sharing.Distinct
    seen: sharing.Seen | None  # where it is kept


def rollout_episodes(
    pair_fn: PairFn,
    scheduler: Scheduler,
    params: RolloutParams,
    rngs: PRNGKey,
    episodes: Any,
    *,
    rules: Rules = DEFAULT_RULES,
    how: sharing.Sharing = sharing.DEFAULT_SHARING,
) -> SharedTrajectory:
    """Roll one scheduler out, K trials of each of E episodes; see `rollout_population`.

    Args:
      params: as for `rollout`.
      rngs: [E, K].
      episodes: leading axis E.

    Returns:
      As `rollout_population`, without the axis P.
    """
    whole = rollout_population(
        pair_fn,
        scheduler,
        params._replace(
            scheduler=jax.tree.map(lambda x: jnp.asarray(x)[None], params.scheduler),
            budget=jnp.asarray(params.budget)[None],
        ),
        rngs[None],
        episodes,
        rules=rules,
        how=how,
    )
    distinct = whole.distinct
    alone = jax.tree.map(lambda x: x[0], whole._replace(distinct=None))
    return alone._replace(distinct=distinct)


def rollout_population(
    pair_fn: PairFn,
    scheduler: Scheduler,
    params: RolloutParams,
    rngs: PRNGKey,
    episodes: Any,
    *,
    rules: Rules = DEFAULT_RULES,
    how: sharing.Sharing = sharing.DEFAULT_SHARING,
) -> SharedTrajectory:
    """Roll P schedulers out on the same E episodes, K trials each.

    Never vmap this: the switch would become a select, which computes every size.
    Batches of anything are episodes or policies here.

    Args:
      pair_fn: reads an `Episode` at the frames k and i alone, as E of them are joined
        end to end; of any other tree it is given one episode, which should be small.
      scheduler: its `look` and `decide` are called with one policy's parameters.
      params: variables for `pair_fn`; parameters of the scheduler with leading axis P;
        budgets [P].
      rngs: [P, E, K]; the randomness of frame i is `fold_in(rng, i)`, as in `rollout`.
      episodes: anything with `key_scores` [E, T] that `pair_fn` understands.
      how: how to compute.
    """
    run = _Run(pair_fn, scheduler, params, rngs, episodes, rules, how)
    return run.finish(jax.lax.while_loop(run.is_alive, run.advance, run.start()))


class _Rows(NamedTuple):
    """What is known after a decision, [S, P, E, K]."""

    decided: deferred.Decided
    pair: Array
    place: Array


class _Carry(NamedTuple):
    """What changes from frame to frame."""

    frame: Array  # [] int32
    states: State  # [P, E, K]
    memory: Any  # [P, E, K, ...] of the scheduler
    rows: _Rows
    # With as many slots more as a frame can have.
    distinct: sharing.Distinct
    seen: sharing.Seen | None


class _Run:
    """One rollout: what does not change, and the steps."""

    def __init__(self, pair_fn, scheduler, params, rngs, episodes, rules, how):
        self.pair_fn, self.scheduler, self.params = pair_fn, scheduler, params
        self.rngs, self.episodes, self.rules = rngs, episodes, rules
        self.how = how
        self.shape = rngs.shape  # P, E, K
        _, num_episodes, num_trials = self.shape
        self.num_frames = episodes.key_scores.shape[1]

        def at_most(trials):
            """Return how many pairs a frame, and all of them, can have."""
            at_once = min(trials, num_episodes * (self.num_frames - 1))
            return at_once, sharing.pair_limit(trials, num_episodes, self.num_frames)

        self.most, self.limit = at_most(rngs.size)
        self.own_most, self.own_limit = at_most(num_episodes * num_trials)

    def start(self) -> _Carry:
        states = self._broadcast(environment.reset(self.rules))
        start = sharing.over_policies(self.scheduler.start, self.shape[0])
        memory = start(self.params.scheduler)
        numbers = jnp.zeros(self.shape, jnp.int32)
        deviation, seen = self._nothing()
        steps = self.num_frames - 1
        return _Carry(
            jnp.int32(1),
            states,
            jax.tree.map(self._spread, memory),
            jax.tree.map(
                lambda x: jnp.zeros((steps, *x.shape), x.dtype),
                _Rows(deferred.nothing(self.shape), numbers, numbers),
            ),
            sharing.no_pairs(deviation, self.limit, self.how.kept),
            sharing.nothing_seen(seen, self.own_limit) if self.how.keep_seen else None,
        )

    def is_alive(self, carry: _Carry) -> Array:
        return (carry.frame < self.num_frames) & ~carry.states.done.all()

    def advance(self, carry: _Carry) -> _Carry:
        """Decide one frame in all trials."""
        found = self._find(carry.states)
        deviation, seen = self._look(found, carry.frame)
        moved, memory, rows = self._decide(carry, seen, found)
        kept = carry.seen
        if kept is not None:
            own = carry.distinct.count + found.own
            kept = sharing.append_seen(kept, sharing.Seen(own, seen, found.own_count))
        batch = sharing.Distinct(
            *jnp.divmod(found.slot, self.num_frames),
            jnp.full_like(found.slot, carry.frame),
            deviation,
            found.count,
            found.count,
        )
        return _Carry(
            carry.frame + 1,
            moved,
            memory,
            jax.tree.map(
                lambda all_rows, x: jax.lax.dynamic_update_index_in_dim(
                    all_rows, x, carry.frame - 1, 0
                ),
                carry.rows,
                rows,
            ),
            sharing.append(carry.distinct, batch),
            kept,
        )

    def finish(self, carry: _Carry) -> SharedTrajectory:
        """Return the trajectories, with the rewards of the keys."""
        decided, pair, place = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 3), carry.rows)
        distinct = sharing.cut(carry.distinct, self.limit)
        needed = jnp.zeros(self.limit, bool)
        needed = needed.at[jnp.where(decided.paid, pair, self.limit)].set(
            True, mode="drop"
        )
        scores = sharing.scores(
            self._pairs, distinct, needed, batches.score_size(self.how.score_batch)
        )
        key_scores = self.episodes.key_scores[:, None, 1:]
        trials = deferred.pay(decided, key_scores, scores[pair])
        seen = carry.seen
        if seen is not None:
            seen = sharing.cut_seen(seen, self.own_limit)
        return SharedTrajectory(trials, pair, place, distinct, seen)

    def _find(self, states) -> sharing.Found:
        return sharing.find(
            states.key_frame, states.done, self.num_frames, self.most, self.own_most
        )

    def _look(self, found, frame):
        """Return deviations [most, ...] and what is seen [P, own most, ...]."""

        def deviations(slots):
            episode, key_frame = jnp.divmod(slots, self.num_frames)
            return self._pairs(episode, key_frame, frame).deviation

        sizes = batches.network_sizes(self.how.buckets, self.most)
        deviation = batches.in_batches(deviations, found.slot, found.count, sizes)
        seen = sharing.look_all(
            self.scheduler,
            self.params.scheduler,
            deviation,
            found,
            batches.look_sizes(self.own_most),
        )
        return deviation, seen

    def _nothing(self):
        """Return the shapes of `_look`."""
        flags = jax.ShapeDtypeStruct(self.shape, bool)
        frames = jax.ShapeDtypeStruct(self.shape, jnp.int32)
        states = State(None, frames, None, None, flags)
        found = jax.eval_shape(self._find, states)
        return jax.eval_shape(self._look, found, jax.ShapeDtypeStruct((), jnp.int32))

    def _decide(self, carry, seen, found):
        """Let every trial decide on its row of what is seen, [P, own most, ...]."""

        def trial(params, budget, seen, rng, state, memory, row):
            mine = jax.tree.map(lambda x: x[row], seen)
            return deferred.decide(
                self.scheduler, self.rules, params, budget, mine, rng, state, memory
            )

        for _ in range(2):
            trial = jax.vmap(trial, (None, None, None, 0, 0, 0, 0))
        moved, memory, decided = sharing.over_policies(trial, self.shape[0])(
            self.params.scheduler,
            self.params.budget,
            seen,
            self.rngs,
            carry.states,
            carry.memory,
            found.own_row,
        )
        place = found.own_row
        if carry.seen is not None:
            place = place + carry.seen.count[:, None, None]
        return moved, memory, _Rows(decided, carry.distinct.count + found.row, place)

    def _pairs(self, episode, key_frame, frame):
        return sharing.evaluate(
            self.pair_fn,
            self.params.framework,
            self.episodes,
            episode,
            key_frame,
            frame,
        )

    def _broadcast(self, tree):
        return jax.tree.map(
            lambda x: jnp.broadcast_to(x, (*self.shape, *x.shape)), tree
        )

    def _spread(self, x):
        """Return [P, ...] as [P, E, K, ...]."""
        return jnp.broadcast_to(x[:, None, None], (*self.shape, *x.shape[1:]))
