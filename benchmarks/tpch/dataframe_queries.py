"""The 22 queries of TPC-H as Daft DataFrames, with the standard's validation parameters.

Subqueries are written as the joins and aggregations they stand for. Joins start from the filtered side, because
Daft keeps the order in which joins are written. Sums of money stay decimal; averages and ratios are taken in
float64, because Daft cuts the mean of a decimal(15, 2) after six digits.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import daft
from daft import DataFrame, DataType, Expression, col, lit
from daft.functions import when

from benchmarks.tpch.data import files_of


class Tables:
    """The eight tables of one generated directory, each scanned lazily and opened once."""

    def __init__(self, data: Path, *, scale_factor: float) -> None:
        self.data = data
        self.scale_factor = scale_factor

    def _read(self, table: str) -> DataFrame:
        return daft.read_parquet(files_of(self.data, table))

    @cached_property
    def region(self) -> DataFrame:
        return self._read("region")

    @cached_property
    def nation(self) -> DataFrame:
        return self._read("nation")

    @cached_property
    def supplier(self) -> DataFrame:
        return self._read("supplier")

    @cached_property
    def customer(self) -> DataFrame:
        return self._read("customer")

    @cached_property
    def part(self) -> DataFrame:
        return self._read("part")

    @cached_property
    def partsupp(self) -> DataFrame:
        return self._read("partsupp")

    @cached_property
    def orders(self) -> DataFrame:
        return self._read("orders")

    @cached_property
    def lineitem(self) -> DataFrame:
        return self._read("lineitem")

    def nations_of(self, region: str) -> DataFrame:
        """Keys and names of the nations of a region."""
        regions = self.region.where(col("r_name") == region).select("r_regionkey")
        nations = self.nation.join(regions, left_on="n_regionkey", right_on="r_regionkey", how="semi")
        return nations.select("n_nationkey", "n_name")

    def suppliers_of(self, nation: str) -> DataFrame:
        """The suppliers of a nation."""
        nations = self.nation.where(col("n_name") == nation).select("n_nationkey")
        return self.supplier.join(nations, left_on="s_nationkey", right_on="n_nationkey", how="semi")


def _money(text: str, *, digits: int) -> Expression:
    """A decimal constant of few digits: Daft gives literals 38, which leaves none for the product."""
    value = Decimal(text)
    scale = -int(value.as_tuple().exponent)
    return lit(value).cast(DataType.decimal128(digits, scale))


def _discounted() -> Expression:
    """`l_extendedprice * (1 - l_discount)` as decimal(20, 4)."""
    return col("l_extendedprice") * (_money("1.00", digits=3) - col("l_discount").cast(DataType.decimal128(4, 2)))


def _float(expression: Expression) -> Expression:
    return expression.cast(DataType.float64())


def q01(t: Tables) -> DataFrame:
    rows = t.lineitem.where(col("l_shipdate") <= date(1998, 9, 2))
    rows = rows.select(
        "l_returnflag",
        "l_linestatus",
        "l_quantity",
        "l_extendedprice",
        "l_discount",
        "l_tax",
        _discounted().alias("disc_price"),
    )
    charge = col("disc_price") * (_money("1.00", digits=3) + col("l_tax").cast(DataType.decimal128(4, 2)))
    sums = rows.groupby("l_returnflag", "l_linestatus").agg(
        col("l_quantity").sum().alias("sum_qty"),
        col("l_extendedprice").sum().alias("sum_base_price"),
        col("disc_price").sum().alias("sum_disc_price"),
        charge.sum().alias("sum_charge"),
        col("l_discount").sum().alias("sum_disc"),
        col("l_returnflag").count("all").alias("count_order"),
    )
    return sums.select(
        "l_returnflag",
        "l_linestatus",
        "sum_qty",
        "sum_base_price",
        "sum_disc_price",
        "sum_charge",
        (_float(col("sum_qty")) / col("count_order")).alias("avg_qty"),
        (_float(col("sum_base_price")) / col("count_order")).alias("avg_price"),
        (_float(col("sum_disc")) / col("count_order")).alias("avg_disc"),
        "count_order",
    ).sort(["l_returnflag", "l_linestatus"])


def q02(t: Tables) -> DataFrame:
    suppliers = t.supplier.join(t.nations_of("EUROPE"), left_on="s_nationkey", right_on="n_nationkey")
    parts = t.part.where((col("p_size") == 15) & col("p_type").endswith("BRASS")).select("p_partkey", "p_mfgr")
    offers = t.partsupp.select("ps_partkey", "ps_suppkey", "ps_supplycost")
    offers = offers.join(parts, left_on="ps_partkey", right_on="p_partkey")
    offers = offers.join(suppliers, left_on="ps_suppkey", right_on="s_suppkey")
    cheapest = offers.groupby("ps_partkey").agg(col("ps_supplycost").min().alias("min_cost"))
    best = offers.join(cheapest, left_on=["ps_partkey", "ps_supplycost"], right_on=["ps_partkey", "min_cost"])
    return (
        best.select(
            "s_acctbal",
            "s_name",
            "n_name",
            col("ps_partkey").alias("p_partkey"),
            "p_mfgr",
            "s_address",
            "s_phone",
            "s_comment",
        )
        .sort(["s_acctbal", "n_name", "s_name", "p_partkey"], desc=[True, False, False, False])
        .limit(100)
    )


def q03(t: Tables) -> DataFrame:
    customers = t.customer.where(col("c_mktsegment") == "BUILDING").select("c_custkey")
    orders = t.orders.where(col("o_orderdate") < date(1995, 3, 15))
    orders = orders.select("o_orderkey", "o_custkey", "o_orderdate", "o_shippriority")
    orders = orders.join(customers, left_on="o_custkey", right_on="c_custkey", how="semi")
    items = t.lineitem.where(col("l_shipdate") > date(1995, 3, 15))
    rows = items.join(orders, left_on="l_orderkey", right_on="o_orderkey")
    return (
        rows.groupby("l_orderkey", "o_orderdate", "o_shippriority")
        .agg(_discounted().sum().alias("revenue"))
        .sort(["revenue", "o_orderdate"], desc=[True, False])
        .limit(10)
        .select("l_orderkey", "revenue", "o_orderdate", "o_shippriority")
    )


def q04(t: Tables) -> DataFrame:
    late = t.lineitem.where(col("l_commitdate") < col("l_receiptdate")).select("l_orderkey")
    orders = t.orders.where((col("o_orderdate") >= date(1993, 7, 1)) & (col("o_orderdate") < date(1993, 10, 1)))
    return (
        orders.select("o_orderkey", "o_orderpriority")
        .join(late, left_on="o_orderkey", right_on="l_orderkey", how="semi")
        .groupby("o_orderpriority")
        .agg(col("o_orderkey").count().alias("order_count"))
        .sort("o_orderpriority")
    )


def q05(t: Tables) -> DataFrame:
    nations = t.nations_of("ASIA")
    customers = t.customer.select("c_custkey", "c_nationkey")
    customers = customers.join(nations, left_on="c_nationkey", right_on="n_nationkey")
    orders = t.orders.where((col("o_orderdate") >= date(1994, 1, 1)) & (col("o_orderdate") < date(1995, 1, 1)))
    orders = orders.select("o_orderkey", "o_custkey").join(customers, left_on="o_custkey", right_on="c_custkey")
    items = t.lineitem.select("l_orderkey", "l_suppkey", "l_extendedprice", "l_discount")
    rows = items.join(orders, left_on="l_orderkey", right_on="o_orderkey")
    suppliers = t.supplier.select("s_suppkey", "s_nationkey")
    return (
        rows.join(suppliers, left_on=["l_suppkey", "c_nationkey"], right_on=["s_suppkey", "s_nationkey"])
        .groupby("n_name")
        .agg(_discounted().sum().alias("revenue"))
        .sort("revenue", desc=True)
    )


def q06(t: Tables) -> DataFrame:
    low, high = _money("0.05", digits=15), _money("0.07", digits=15)
    return t.lineitem.where(
        (col("l_shipdate") >= date(1994, 1, 1))
        & (col("l_shipdate") < date(1995, 1, 1))
        & (col("l_discount") >= low)
        & (col("l_discount") <= high)
        & (col("l_quantity") < _money("24.00", digits=15))
    ).agg((col("l_extendedprice") * col("l_discount")).sum().alias("revenue"))


def q07(t: Tables) -> DataFrame:
    nations = t.nation.where(col("n_name").is_in(["FRANCE", "GERMANY"]))
    sellers = nations.select(col("n_nationkey").alias("sn_key"), col("n_name").alias("supp_nation"))
    buyers = nations.select(col("n_nationkey").alias("cn_key"), col("n_name").alias("cust_nation"))
    suppliers = t.supplier.select("s_suppkey", "s_nationkey").join(sellers, left_on="s_nationkey", right_on="sn_key")
    customers = t.customer.select("c_custkey", "c_nationkey").join(buyers, left_on="c_nationkey", right_on="cn_key")
    orders = t.orders.select("o_orderkey", "o_custkey").join(customers, left_on="o_custkey", right_on="c_custkey")
    items = t.lineitem.where((col("l_shipdate") >= date(1995, 1, 1)) & (col("l_shipdate") <= date(1996, 12, 31)))
    items = items.join(suppliers, left_on="l_suppkey", right_on="s_suppkey")
    rows = items.join(orders, left_on="l_orderkey", right_on="o_orderkey")
    return (
        rows.where(col("supp_nation") != col("cust_nation"))
        .select("supp_nation", "cust_nation", col("l_shipdate").year().alias("l_year"), _discounted().alias("volume"))
        .groupby("supp_nation", "cust_nation", "l_year")
        .agg(col("volume").sum().alias("revenue"))
        .sort(["supp_nation", "cust_nation", "l_year"])
    )


def q08(t: Tables) -> DataFrame:
    nations = t.nations_of("AMERICA").select("n_nationkey")
    customers = t.customer.select("c_custkey", "c_nationkey")
    customers = customers.join(nations, left_on="c_nationkey", right_on="n_nationkey", how="semi")
    orders = t.orders.where((col("o_orderdate") >= date(1995, 1, 1)) & (col("o_orderdate") <= date(1996, 12, 31)))
    orders = orders.select("o_orderkey", "o_custkey", "o_orderdate")
    parts = t.part.where(col("p_type") == "ECONOMY ANODIZED STEEL").select("p_partkey")
    items = t.lineitem.select("l_orderkey", "l_partkey", "l_suppkey", "l_extendedprice", "l_discount")
    items = items.join(parts, left_on="l_partkey", right_on="p_partkey", how="semi")
    rows = orders.join(items, left_on="o_orderkey", right_on="l_orderkey")
    rows = rows.join(customers, left_on="o_custkey", right_on="c_custkey", how="semi")
    sellers = t.supplier.select("s_suppkey", "s_nationkey")
    sellers = sellers.join(t.nation.select("n_nationkey", "n_name"), left_on="s_nationkey", right_on="n_nationkey")
    rows = rows.join(sellers, left_on="l_suppkey", right_on="s_suppkey")
    rows = rows.select(col("o_orderdate").year().alias("o_year"), "n_name", _discounted().alias("volume"))
    brazil = when(col("n_name") == "BRAZIL", col("volume")).otherwise(_money("0.0000", digits=20))
    return (
        rows.groupby("o_year")
        .agg(brazil.sum().alias("brazil_volume"), col("volume").sum().alias("volume"))
        .select("o_year", (_float(col("brazil_volume")) / _float(col("volume"))).alias("mkt_share"))
        .sort("o_year")
    )


def q09(t: Tables) -> DataFrame:
    parts = t.part.where(col("p_name").contains("green")).select("p_partkey")
    items = t.lineitem.select("l_orderkey", "l_partkey", "l_suppkey", "l_quantity", "l_extendedprice", "l_discount")
    items = items.join(parts, left_on="l_partkey", right_on="p_partkey", how="semi")
    offers = t.partsupp.select("ps_partkey", "ps_suppkey", "ps_supplycost")
    offers = offers.join(parts, left_on="ps_partkey", right_on="p_partkey", how="semi")
    rows = items.join(offers, left_on=["l_partkey", "l_suppkey"], right_on=["ps_partkey", "ps_suppkey"])
    sellers = t.supplier.select("s_suppkey", "s_nationkey")
    sellers = sellers.join(t.nation.select("n_nationkey", "n_name"), left_on="s_nationkey", right_on="n_nationkey")
    rows = rows.join(sellers, left_on="l_suppkey", right_on="s_suppkey")
    rows = t.orders.select("o_orderkey", "o_orderdate").join(rows, left_on="o_orderkey", right_on="l_orderkey")
    amount = _discounted() - col("ps_supplycost") * col("l_quantity")
    return (
        rows.select(col("n_name").alias("nation"), col("o_orderdate").year().alias("o_year"), amount.alias("amount"))
        .groupby("nation", "o_year")
        .agg(col("amount").sum().alias("sum_profit"))
        .sort(["nation", "o_year"], desc=[False, True])
    )


def q10(t: Tables) -> DataFrame:
    orders = t.orders.where((col("o_orderdate") >= date(1993, 10, 1)) & (col("o_orderdate") < date(1994, 1, 1)))
    orders = orders.select("o_orderkey", "o_custkey")
    items = t.lineitem.where(col("l_returnflag") == "R").select("l_orderkey", "l_extendedprice", "l_discount")
    rows = items.join(orders, left_on="l_orderkey", right_on="o_orderkey")
    # c_custkey determines the customer's other columns, so they need not be carried through the aggregation.
    revenues = rows.groupby("o_custkey").agg(_discounted().sum().alias("revenue"))
    rows = t.customer.join(revenues, left_on="c_custkey", right_on="o_custkey")
    rows = rows.join(t.nation.select("n_nationkey", "n_name"), left_on="c_nationkey", right_on="n_nationkey")
    columns = ["c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment"]
    return rows.select(*columns).sort("revenue", desc=True).limit(20)


def q11(t: Tables) -> DataFrame:
    suppliers = t.suppliers_of("GERMANY").select("s_suppkey")
    offers = t.partsupp.select("ps_partkey", "ps_suppkey", "ps_availqty", "ps_supplycost")
    offers = offers.join(suppliers, left_on="ps_suppkey", right_on="s_suppkey", how="semi")
    value = col("ps_supplycost") * col("ps_availqty").cast(DataType.decimal128(10, 0))
    offers = offers.select("ps_partkey", value.alias("offer"))
    values = offers.groupby("ps_partkey").agg(col("offer").sum().alias("value"))
    total = offers.agg(col("offer").sum().alias("total"))
    threshold = _float(col("total")) * (0.0001 / t.scale_factor)
    return (
        values.join(total, how="cross")
        .where(_float(col("value")) > threshold)
        .select("ps_partkey", "value")
        .sort("value", desc=True)
    )


def q12(t: Tables) -> DataFrame:
    items = t.lineitem.where(
        col("l_shipmode").is_in(["MAIL", "SHIP"])
        & (col("l_commitdate") < col("l_receiptdate"))
        & (col("l_shipdate") < col("l_commitdate"))
        & (col("l_receiptdate") >= date(1994, 1, 1))
        & (col("l_receiptdate") < date(1995, 1, 1))
    ).select("l_orderkey", "l_shipmode")
    rows = t.orders.select("o_orderkey", "o_orderpriority").join(items, left_on="o_orderkey", right_on="l_orderkey")
    high = col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    return (
        rows.groupby("l_shipmode")
        .agg(
            when(high, lit(1)).otherwise(lit(0)).sum().alias("high_line_count"),
            when(high, lit(0)).otherwise(lit(1)).sum().alias("low_line_count"),
        )
        .sort("l_shipmode")
    )


def q13(t: Tables) -> DataFrame:
    orders = t.orders.where(~col("o_comment").like("%special%requests%")).select("o_orderkey", "o_custkey")
    counts = (
        t.customer.select("c_custkey")
        .join(orders, left_on="c_custkey", right_on="o_custkey", how="left")
        .groupby("c_custkey")
        .agg(col("o_orderkey").count().alias("c_count"))
    )
    return (
        counts.groupby("c_count")
        .agg(col("c_custkey").count().alias("custdist"))
        .sort(["custdist", "c_count"], desc=[True, True])
    )


def q14(t: Tables) -> DataFrame:
    items = t.lineitem.where((col("l_shipdate") >= date(1995, 9, 1)) & (col("l_shipdate") < date(1995, 10, 1)))
    items = items.select("l_partkey", _discounted().alias("volume"))
    rows = t.part.select("p_partkey", "p_type").join(items, left_on="p_partkey", right_on="l_partkey")
    promo = when(col("p_type").startswith("PROMO"), col("volume")).otherwise(_money("0.0000", digits=20))
    sums = rows.agg(promo.sum().alias("promo"), col("volume").sum().alias("volume"))
    return sums.select((lit(100.0) * _float(col("promo")) / _float(col("volume"))).alias("promo_revenue"))


def q15(t: Tables) -> DataFrame:
    items = t.lineitem.where((col("l_shipdate") >= date(1996, 1, 1)) & (col("l_shipdate") < date(1996, 4, 1)))
    revenue = items.groupby("l_suppkey").agg(_discounted().sum().alias("total_revenue"))
    highest = revenue.agg(col("total_revenue").max().alias("highest"))
    best = revenue.join(highest, left_on="total_revenue", right_on="highest", how="semi")
    return (
        t.supplier.select("s_suppkey", "s_name", "s_address", "s_phone")
        .join(best, left_on="s_suppkey", right_on="l_suppkey")
        .select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .sort("s_suppkey")
    )


def q16(t: Tables) -> DataFrame:
    parts = t.part.where(
        (col("p_brand") != "Brand#45")
        & ~col("p_type").startswith("MEDIUM POLISHED")
        & col("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9])
    ).select("p_partkey", "p_brand", "p_type", "p_size")
    complaints = t.supplier.where(col("s_comment").like("%Customer%Complaints%")).select("s_suppkey")
    return (
        t.partsupp.select("ps_partkey", "ps_suppkey")
        .join(parts, left_on="ps_partkey", right_on="p_partkey")
        .join(complaints, left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .groupby("p_brand", "p_type", "p_size")
        .agg(col("ps_suppkey").count_distinct().alias("supplier_cnt"))
        .sort(["supplier_cnt", "p_brand", "p_type", "p_size"], desc=[True, False, False, False])
    )


def q17(t: Tables) -> DataFrame:
    parts = t.part.where((col("p_brand") == "Brand#23") & (col("p_container") == "MED BOX")).select("p_partkey")
    items = t.lineitem.select("l_partkey", "l_quantity", "l_extendedprice")
    items = items.join(parts, left_on="l_partkey", right_on="p_partkey", how="semi")
    means = items.groupby("l_partkey").agg(_float(col("l_quantity")).mean().alias("mean_quantity"))
    small = items.join(means, on="l_partkey").where(_float(col("l_quantity")) < lit(0.2) * col("mean_quantity"))
    total = small.agg(col("l_extendedprice").sum().alias("total"))
    return total.select((_float(col("total")) / lit(7.0)).alias("avg_yearly"))


def q18(t: Tables) -> DataFrame:
    quantities = t.lineitem.groupby("l_orderkey").agg(col("l_quantity").sum().alias("sum_quantity"))
    large = quantities.where(col("sum_quantity") > 300)
    orders = t.orders.select("o_orderkey", "o_custkey", "o_orderdate", "o_totalprice")
    # The group of the outer query is the order, so its sum of l_quantity is the subquery's.
    rows = orders.join(large, left_on="o_orderkey", right_on="l_orderkey")
    rows = t.customer.select("c_custkey", "c_name").join(rows, left_on="c_custkey", right_on="o_custkey")
    columns = ["c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "sum_quantity"]
    return rows.select(*columns).sort(["o_totalprice", "o_orderdate"], desc=[True, False]).limit(100)


def q19(t: Tables) -> DataFrame:
    def parts_of(brand: str, containers: list[str], size: int) -> Expression:
        return (col("p_brand") == brand) & col("p_container").is_in(containers) & col("p_size").between(1, size)

    def quantity_of(brand: str, least: int) -> Expression:
        low, high = _money(f"{least}.00", digits=15), _money(f"{least + 10}.00", digits=15)
        return (col("p_brand") == brand) & (col("l_quantity") >= low) & (col("l_quantity") <= high)

    # Each of the three cases names another brand, so what it asks of parts can be asked before the join.
    parts = t.part.where(
        parts_of("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 5)
        | parts_of("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10)
        | parts_of("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 15)
    ).select("p_partkey", "p_brand")
    items = t.lineitem.where(
        col("l_shipmode").is_in(["AIR", "AIR REG"]) & (col("l_shipinstruct") == "DELIVER IN PERSON")
    ).select("l_partkey", "l_quantity", "l_extendedprice", "l_discount")
    rows = items.join(parts, left_on="l_partkey", right_on="p_partkey")
    rows = rows.where(quantity_of("Brand#12", 1) | quantity_of("Brand#23", 10) | quantity_of("Brand#34", 20))
    return rows.agg(_discounted().sum().alias("revenue"))


def q20(t: Tables) -> DataFrame:
    parts = t.part.where(col("p_name").startswith("forest")).select("p_partkey")
    items = t.lineitem.where((col("l_shipdate") >= date(1994, 1, 1)) & (col("l_shipdate") < date(1995, 1, 1)))
    items = items.select("l_partkey", "l_suppkey", "l_quantity")
    items = items.join(parts, left_on="l_partkey", right_on="p_partkey", how="semi")
    shipped = items.groupby("l_partkey", "l_suppkey").agg(col("l_quantity").sum().alias("shipped"))
    offers = t.partsupp.select("ps_partkey", "ps_suppkey", "ps_availqty")
    offers = offers.join(parts, left_on="ps_partkey", right_on="p_partkey", how="semi")
    offers = offers.join(shipped, left_on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
    excess = offers.where(_float(col("ps_availqty")) > lit(0.5) * _float(col("shipped"))).select("ps_suppkey")
    return (
        t.suppliers_of("CANADA")
        .select("s_suppkey", "s_name", "s_address")
        .join(excess, left_on="s_suppkey", right_on="ps_suppkey", how="semi")
        .select("s_name", "s_address")
        .sort("s_name")
    )


def q21(t: Tables) -> DataFrame:
    # An order counts for a late supplier when it has other suppliers and none of them was late: the least and the
    # greatest supplier differ among all its items and are the same among its late ones.
    late = when(col("l_receiptdate") > col("l_commitdate"), col("l_suppkey")).otherwise(lit(None))
    items = t.lineitem.select("l_orderkey", "l_suppkey", late.alias("late_suppkey"))
    orders = t.orders.where(col("o_orderstatus") == "F").select("o_orderkey")
    items = items.join(orders, left_on="l_orderkey", right_on="o_orderkey", how="semi")
    waits = (
        items.groupby("l_orderkey")
        .agg(
            col("l_suppkey").min().alias("least"),
            col("l_suppkey").max().alias("greatest"),
            col("late_suppkey").min().alias("least_late"),
            col("late_suppkey").max().alias("greatest_late"),
            col("late_suppkey").count().alias("late_items"),
        )
        .where((col("least") != col("greatest")) & (col("least_late") == col("greatest_late")))
        .select("least_late", "late_items")
    )
    suppliers = t.suppliers_of("SAUDI ARABIA").select("s_suppkey", "s_name")
    return (
        waits.join(suppliers, left_on="least_late", right_on="s_suppkey")
        .groupby("s_name")
        .agg(col("late_items").sum().alias("numwait"))
        .sort(["numwait", "s_name"], desc=[True, False])
        .limit(100)
    )


def q22(t: Tables) -> DataFrame:
    customers = t.customer.select("c_custkey", "c_acctbal", col("c_phone").left(2).alias("cntrycode"))
    customers = customers.where(col("cntrycode").is_in(["13", "31", "23", "29", "30", "18", "17"]))
    positive = customers.where(col("c_acctbal") > 0)
    mean = positive.agg(_float(col("c_acctbal")).mean().alias("mean_balance"))
    rich = customers.join(mean, how="cross").where(_float(col("c_acctbal")) > col("mean_balance"))
    return (
        rich.join(t.orders.select("o_custkey"), left_on="c_custkey", right_on="o_custkey", how="anti")
        .groupby("cntrycode")
        .agg(col("c_acctbal").count().alias("numcust"), col("c_acctbal").sum().alias("totacctbal"))
        .sort("cntrycode")
    )


_ALL = [q01, q02, q03, q04, q05, q06, q07, q08, q09, q10, q11, q12, q13, q14, q15, q16, q17, q18, q19, q20, q21, q22]

QUERIES: dict[int, Callable[[Tables], DataFrame]] = dict(enumerate(_ALL, start=1))
