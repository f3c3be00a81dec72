#include "converters/expression.h"
