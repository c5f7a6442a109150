"""Settings of the simulated subject. The constants of the model itself stand in `brain2pix.simulation`."""

from pydantic import Field

from brain2pix.config.base import Settings


class SimulationSettings(Settings):
    """Size and noise of a simulated subject. Presets: tiny, demo, full, hard."""

    voxel_mm: float = Field(2.5, ge=1.5, le=6, description="edge of a voxel [mm]")
    image_size: int = Field(64, ge=16, le=512, multiple_of=16, description="edge of a stimulus [px]")
    field_of_view_deg: float = Field(12.0, gt=0, le=60, description="edge of the square stimulus [degrees]")
    n_train: int = Field(1200, ge=12, description="training images, one trial each")
    n_test: int = Field(50, ge=10, multiple_of=5, description="test images")
    n_validation: int = Field(50, ge=4, description="validation images, from photos of their own")
    n_category_train: int = Field(240, ge=0, description="training images of categories (faces, words, places, ...), one trial each")
    n_category_test: int = Field(60, ge=0, description="test images of categories, kept apart from the test images")
    n_repeats: int = Field(35, ge=2, description="trials of each test and validation image")
    n_category_repeats: int = Field(10, ge=2, description="trials of each category test image")
    n_unpaired: int = Field(8000, ge=16, description="images without responses")
    run_length: int = Field(50, ge=4, description="trials of a run; noise is correlated within a run")
    ceiling_mean: float = Field(0.155, gt=0, lt=1, description="mean single-trial noise ceiling nc1 of V1-V3 voxels (share of variance)")
    ceiling_sd: float = Field(0.08, gt=0, lt=0.5, description="its standard deviation over voxels")
    category_ceiling_mean: float = Field(0.10, gt=0, lt=1, description="mean single-trial ceiling of category voxels")
    shared_noise: float = Field(0.10, ge=0, le=1, description="share of noise variance from smooth factors that voxels share")
    individual: bool = Field(False, description="shift, scale and turn the areas as people differ")
    seed: int = Field(0, ge=0, description="changes crops, subject and noise, never the split of the photos")
