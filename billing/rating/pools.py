"""Shared prices: tiers walked once on the joint quantity, the amount shared by use.

For one month and price the joint quantity is that of all members under every
version in force, less each one's own included quantity. For each version the
whole joint quantity is walked at that version's prices; that amount ÷ the joint
quantity is its *blended price*, and a member pays blended price × own quantity.
When in the month something was used does not matter, and cutting the month at a
version change with equal prices changes nothing, member by member.

`alone` is what a pool of one would have paid for the same use. With prices that
never rise (DESIGN §6, checked with the tariff), nobody pays more than alone,
another's use never raises my exact amount, my extra use never lowers it, equal
use costs equal, and order does not matter. Pennies go by largest remainder.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from billing.money import NOUGHT, round_together, sum_pounds, to_pennies
from billing.rating.lines import Line, ParkingPlace, PoolKey
from billing.rating.model import Charge, FrozenPool, FrozenShare, PoolTotal, Position
from billing.rating.numbers import NONE, Exact, add, divide, multiply, subtract
from billing.rating.prices import BeyondTiers
from billing.rating.working import JointWalk, Step

FrozenKey = tuple[PoolKey, str]  # pool and tariff version
Positions = Mapping[tuple[str | None, str | None, str, str], Position]


class Pool:
    """One shared price in one month: its lines, and what they come to together."""

    def __init__(self, key: PoolKey, lines: Sequence[Line], start: Exact) -> None:
        self.key = key
        self.lines = lines
        self.start = start
        self.joint: Exact = NONE
        for line in lines:
            self.joint = add(self.joint, line.billable)
        self.amounts: dict[str, Exact] = {}
        self.frozen: dict[str, FrozenPool] = {}
        self.own: dict[str, Exact] = {}
        for line in lines:
            account = line.segment.account
            self.own[account] = add(self.own.get(account, NONE), line.billable)
        self.versions: dict[str, list[Line]] = {}
        for line in lines:
            self.versions.setdefault(line.segment.tariff.version, []).append(line)

    def price(
        self,
        *,
        positions: Positions,
        frozen: Mapping[FrozenKey, FrozenPool],
        parking: ParkingPlace,
    ) -> None:
        """Set exact and alone amounts of the lines, or park them where there is no price."""
        for version, lines in self.versions.items():
            pricer = lines[0].entry.pricer
            try:
                joint_amount = pricer.amount(
                    start=self.start, quantity=self.joint, total=add(self.start, self.joint)
                )
            except BeyondTiers:
                for line in lines:
                    parking.add_line(line, "beyond-last-tier")
                continue
            self.amounts[version] = joint_amount
            given = frozen.get((self.key, version))
            if given is not None:
                self.frozen[version] = given
            self._share(lines, joint_amount, given, positions)

    def _share(
        self,
        lines: Sequence[Line],
        joint_amount: Exact,
        given: FrozenPool | None,
        positions: Positions,
    ) -> None:
        _, _, scope, group, _ = self.key
        price = lines[0].entry.price
        members = len(self.own)
        joint = self.joint
        yearly = price.resets == "financial-year"
        walk = JointWalk(price, self.start, joint, joint_amount)
        for line in lines:
            account = line.segment.account
            own = self.own[account]
            start: Exact = NONE
            if yearly:
                before = positions.get((account, None, line.segment.tariff.code, price.key))
                start = NONE if before is None else before.billable
            alone = line.entry.pricer.amount(start=start, quantity=own, total=add(start, own))
            if own != line.billable:
                alone = divide(multiply(alone, line.billable), own)
            line.alone = alone
            quantity = line.billable
            if given is not None:
                line.exact = multiply(given.blended_price, quantity)
                values: tuple[object, ...] = (
                    scope,
                    group,
                    given.blended_price,
                    quantity,
                    line.exact,
                    alone,
                )
                line.steps.append(Step("frozen", values))
                line.rounding = "frozen"
            else:
                if quantity:
                    line.exact = divide(multiply(joint_amount, quantity), joint)
                values = (
                    scope,
                    group,
                    members,
                    walk,
                    quantity,
                    line.exact,
                    alone,
                )
                line.steps.append(Step("share", values))
                line.rounding = "together"

    def round(self) -> None:
        """Round the lines of each version so that they add up to their rounded sum.

        At a frozen price an account keeps the amount it was charged at close, plus
        the difference that its later use makes, rounded by itself.
        """
        for version, lines in self.versions.items():
            if version not in self.amounts:
                continue
            given = self.frozen.get(version)
            if given is not None:
                _round_frozen(lines, given)
                continue
            keyed = {
                f"{line.segment.account} {line.segment.first_day.isoformat()}": line
                for line in lines
            }
            amounts = round_together({key: line.exact for key, line in keyed.items()})
            for key, line in keyed.items():
                line.amount = amounts[key]

    def position_after(self) -> Position | None:
        """Return the joint position in the financial year, where tiers go on through it."""
        if self.lines[-1].entry.price.resets != "financial-year":
            return None
        tariff, price_key, _, group, _ = self.key
        return Position(None, group, tariff, price_key, NONE, add(self.start, self.joint))


def _round_frozen(lines: Sequence[Line], given: FrozenPool) -> None:
    by_account: dict[str, list[Line]] = {}
    for line in lines:
        by_account.setdefault(line.segment.account, []).append(line)
    for account, own in by_account.items():
        share = given.shares.get(account, FrozenShare(NONE, NOUGHT))
        exact: Exact = NONE
        for line in own:
            exact = add(exact, line.exact)
            line.amount = to_pennies(line.exact)
        whole = share.amount + to_pennies(subtract(exact, share.exact))
        own[-1].amount += whole - sum_pounds([line.amount for line in own])


def totals(pools: Iterable[Pool]) -> Iterable[PoolTotal]:
    """Return each pool's totals by version, after its lines are rounded."""
    for pool in pools:
        tariff, price_key, scope, group, terms = pool.key
        for version, lines in pool.versions.items():
            joint_amount = pool.amounts.get(version)
            if joint_amount is None:
                continue
            quantity: Exact = NONE
            for line in lines:
                quantity = add(quantity, line.billable)
            given = pool.frozen.get(version)
            blended = given.blended_price if given else None
            true_up: Exact = NONE
            if given is None:
                blended = divide(joint_amount, pool.joint) if pool.joint else None
            elif pool.joint:
                now = divide(multiply(joint_amount, quantity), pool.joint)
                true_up = subtract(now, multiply(given.blended_price, quantity))
            saving = NOUGHT
            for line in lines:
                if line.alone_amount is not None:
                    saving += max(line.alone_amount - line.amount, NOUGHT)
            yield PoolTotal(
                tariff=tariff,
                version=version,
                price_key=price_key,
                label=lines[0].entry.price.label,
                scope=scope,
                group=group,
                terms=terms,
                members=len({line.segment.account for line in lines}),
                quantity=quantity,
                joint_quantity=pool.joint,
                joint_amount=joint_amount,
                blended_price=blended,
                amount=sum_pounds([line.amount for line in lines]),
                saving=saving,
                frozen=given is not None,
                true_up=true_up,
            )


def freeze(pool: PoolTotal, charges: Iterable[Charge]) -> FrozenPool:
    """Return what closing the month keeps of a pool: its blended price and every share.

    Args:
        charges: of the same rating; those of other prices are passed over.

    Raises:
        ValueError: nothing was used, so there is no blended price to freeze.
    """
    if pool.blended_price is None:
        raise ValueError(f"{pool.price_key} has no blended price: nothing was used")
    wanted = (pool.tariff, pool.version, pool.price_key, pool.scope, pool.group, pool.terms)
    shares: dict[str, FrozenShare] = {}
    for charge in charges:
        found = (
            charge.tariff,
            charge.version,
            charge.price_key,
            charge.scope,
            charge.group,
            charge.terms if charge.local_price else None,
        )
        if found == wanted:
            before = shares.get(charge.account, FrozenShare(NONE, NOUGHT))
            shares[charge.account] = FrozenShare(
                add(before.exact, charge.exact), before.amount + charge.amount
            )
    return FrozenPool(
        tariff=pool.tariff,
        version=pool.version,
        price_key=pool.price_key,
        scope=pool.scope,
        group=pool.group,
        terms=pool.terms,
        blended_price=Fraction(pool.blended_price),
        shares=shares,
    )
