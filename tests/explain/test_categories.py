"""What operators and kernels are taken for, by names as torch and its libraries have them."""

import pytest

from attnbench.explain import categories
from attnbench.explain.profiles import CallProfile, OperatorTime


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aten::addmm", categories.PRODUCTS),
        ("aten::linear", categories.PRODUCTS),
        ("ampere_sgemm_64x32_sliced1x4_nt", categories.PRODUCTS),
        ("nvjet_hsh_128x64_64x8_1x2_h_bz_TNT", categories.OTHER),
        ("aten::mkldnn_convolution", categories.CONVOLUTIONS),
        ("sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32", categories.CONVOLUTIONS),
        ("aten::_softmax", categories.ATTENTION),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", categories.ATTENTION),
        ("void pytorch_flash::flash_fwd_kernel<...>", categories.ATTENTION),
        ("aten::copy_", categories.COPIES),
        ("aten::cat", categories.COPIES),
        ("Memcpy DtoD (Device -> Device)", categories.COPIES),
        ("aten::transpose", categories.VIEWS),
        ("aten::empty_strided", categories.VIEWS),
        ("aten::native_layer_norm", categories.NORMS),
        ("aten::native_batch_norm", categories.NORMS),
        ("aten::add_", categories.ELEMENTWISE),
        ("aten::gelu_backward", categories.ELEMENTWISE),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::AddFunctor>", categories.ELEMENTWISE),
        ("void at::native::elementwise_kernel<128, 4, direct_copy_kernel_cuda>", categories.COPIES),
        ("aten::index_select", categories.INDEXING),
        ("triton_poi_fused_add_gelu_0", categories.COMPILED),
        ("somebody::own_operator", categories.OTHER),
        ("FusedMatMul", categories.PRODUCTS),  # of ONNX Runtime
        ("MatMulInteger", categories.PRODUCTS),
        ("QLinearConv", categories.CONVOLUTIONS),
        ("Concat", categories.COPIES),
        ("LayerNormalization", categories.NORMS),
        ("BiasGelu", categories.ELEMENTWISE),
        ("FullyConnected", categories.PRODUCTS),  # of OpenVINO
        ("Subgraph", categories.COMPILED),
        ("MVN", categories.NORMS),
        ("Eltwise", categories.ELEMENTWISE),
    ],
)
def test_a_name_has_its_category(name: str, expected: str) -> None:
    assert categories.category(name) == expected


def test_all_of_a_call_is_shared_out() -> None:
    operators = tuple(OperatorTime(name=name, self_s=1e-3, launches=2) for name in ("aten::mm", "aten::bmm", "x::y"))
    profile = CallProfile(operators=operators, rest_s=5e-4, plain_s=2e-3, profiled_s=3.5e-3, calls=1)
    found = categories.seconds(profile)
    assert found == {categories.PRODUCTS: 2e-3, categories.OTHER: 1e-3, categories.PYTHON: 5e-4}
    assert sum(found.values()) == pytest.approx(profile.total_s)
    assert categories.launches(profile)[categories.PRODUCTS] == 4


def test_on_an_accelerator_the_rest_is_waiting() -> None:
    profile = CallProfile(operators=(), rest_s=1.0, plain_s=1.0, profiled_s=2.0, on_device=True, calls=1)
    assert categories.seconds(profile) == {categories.WAITING: 1.0}
