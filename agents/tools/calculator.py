"""Arithmetic on an expression, with bounds so that no expression can take long or grow large."""

from __future__ import annotations

import ast
import math
import operator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from agents.tools.base import Reversibility, Tool, ToolArguments, ToolContext, ToolError, ToolResult, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BITS = 4096
MAX_NODES = 500
Number = int | float

_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[[Number], Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}


class CalculatorArguments(ToolArguments):
    expression: str = Field(
        min_length=1,
        max_length=1000,
        description="Arithmetic such as `(3 + 4) * 2 ** 10`. Numbers, + - * / // % **, brackets, pi, e, and the "
        "functions abs ceil cos exp floor log log10 log2 round sin sqrt tan.",
    )


class CalculatorResult(ToolResult):
    result: str = Field(description="The value, in decimal notation.")


class Calculator(Tool[CalculatorArguments, CalculatorResult]):
    name: ClassVar[str] = "calculator"
    description: ClassVar[str] = "Evaluate an arithmetic expression."
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    timeout: ClassVar[float | None] = 5.0
    idempotent: ClassVar[bool] = True
    rehearsal: ClassVar[Mapping[str, Any] | None] = {"expression": "2 * (3 + 4) - 5 / 8"}
    Arguments = CalculatorArguments
    Result = CalculatorResult

    def run(self, arguments: CalculatorArguments, context: ToolContext) -> CalculatorResult:  # noqa: ARG002
        return CalculatorResult(result=evaluate(arguments.expression))

    def describe(self, arguments: CalculatorArguments) -> str:
        return f"Calculate {quoted(arguments.expression)}"


def evaluate(expression: str) -> str:
    """The value of an arithmetic expression as text.

    Raises:
        ToolError: not arithmetic, undefined (division by zero), or larger than 4,096 bits.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolError("This is not an arithmetic expression.") from None
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise ToolError("The expression is too long.")
    try:
        value = _value(tree.body)
    except ZeroDivisionError:
        raise ToolError("Division by zero.") from None
    except (OverflowError, ValueError) as error:
        raise ToolError(f"The value is not defined: {error}.") from None
    return str(value) if isinstance(value, int) else f"{Decimal(repr(value)).normalize():f}"


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=bool()):
            raise ToolError("Only numbers can be calculated with.")
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](_value(argument)))
    raise ToolError("Only numbers, + - * / // % **, brackets and the listed functions can be used.")


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1:
        if exponent * abs(base).bit_length() > MAX_BITS:
            raise ToolError("The value is too large.")
        return _bounded(base**exponent)
    result = base**exponent
    if isinstance(result, complex):
        raise ToolError("The value is not a real number.")
    return _bounded(result)


def _bounded(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ToolError("The value is too large.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolError("The value is not a finite number.")
    return value
